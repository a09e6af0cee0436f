/* Sends netlink datagrams from a file, each a length in 4 bytes and its bytes, and waits for the answer to the last message of
 * each, as the agent does: what Linux itself needs for them. Prints milliseconds. */
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static char answer[1 << 16];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

int main(int argc, char **argv)
{
	FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
	struct sockaddr_nl local = { .nl_family = AF_NETLINK };
	struct timespec a, b;
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER), big = 16 << 20, refused = 0;
	if (!file)
		die("file");
	if (fd < 0 || bind(fd, (struct sockaddr *)&local, sizeof local) < 0)
		die("netlink");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof big);
	fseek(file, 0, SEEK_END);
	long size = ftell(file);
	rewind(file);
	char *all = malloc(size);
	if (!all || fread(all, 1, size, file) != (size_t)size)
		die("read");

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (char *at = all; at < all + size;) {
		unsigned length, last = 0;
		memcpy(&length, at, 4);
		at += 4;
		for (unsigned i = 0; i < length; i += NLMSG_ALIGN(((struct nlmsghdr *)(at + i))->nlmsg_len))
			last = ((struct nlmsghdr *)(at + i))->nlmsg_seq;
		if (send(fd, at, length, 0) < 0)
			die("send");
		at += length;
		for (int done = 0; !done;) {
			int n = recv(fd, answer, sizeof answer, 0);
			if (n < 0)
				die("recv");
			for (struct nlmsghdr *m = (struct nlmsghdr *)answer; NLMSG_OK(m, n); m = NLMSG_NEXT(m, n)) {
				if (m->nlmsg_type == NLMSG_ERROR && ((struct nlmsgerr *)NLMSG_DATA(m))->error)
					refused++;
				done |= m->nlmsg_seq == last;
			}
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (refused) {
		fprintf(stderr, "%d messages refused\n", refused);
		return 1;
	}
	printf("%.1f\n", (b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) / 1e6);
	return 0;
}
