/*
 * The yardstick of the netlink layer: the same IPVS messages, pipelined by C. SERVICES services of DESTINATIONS each into
 * an empty table, 64 KiB a send, the ack on the last message only. Prints the milliseconds from the first byte encoded to
 * the last ack.
 */
#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char batch[65536], answer[65536];
static size_t used;
static unsigned sequence = 1, last_start;
static int fd, refused;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct nlattr *put(int type, const void *data, size_t length)
{
	struct nlattr *a = (struct nlattr *)(batch + used);
	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + length;
	memset((char *)a + NLA_HDRLEN + (length & ~3u), 0, NLA_ALIGN(length) - (length & ~3u));
	if (data)
		memcpy((char *)a + NLA_HDRLEN, data, length);
	used += NLA_ALIGN(a->nla_len);
	return a;
}

static void put16(int type, unsigned short value) { put(type, &value, 2); }
static void put32(int type, unsigned value) { put(type, &value, 4); }

static struct nlmsghdr *begin(int family, int command)
{
	struct nlmsghdr *m = (struct nlmsghdr *)(batch + used);
	last_start = used;
	m->nlmsg_type = family;
	m->nlmsg_flags = NLM_F_REQUEST;
	m->nlmsg_seq = sequence++;
	m->nlmsg_pid = 0;
	used += NLMSG_HDRLEN;
	struct genlmsghdr *g = (struct genlmsghdr *)(batch + used);
	g->cmd = command;
	g->version = 1;
	g->reserved = 0;
	used += GENL_HDRLEN;
	return m;
}

static void end(struct nlmsghdr *m) { m->nlmsg_len = batch + used - (char *)m; }

static struct nlattr *nest(int type) { return put(type | NLA_F_NESTED, NULL, 0); }
static void close_nest(struct nlattr *a) { a->nla_len = batch + used - (char *)a; }

/* Sends what is written and reads until the answer to its last message. */
static void flush(void)
{
	if (!used)
		return;
	((struct nlmsghdr *)(batch + last_start))->nlmsg_flags |= NLM_F_ACK;
	if (send(fd, batch, used, 0) < 0)
		die("send");
	for (;;) {
		int n = recv(fd, answer, sizeof answer, 0);
		if (n < 0)
			die("recv");
		for (struct nlmsghdr *m = (struct nlmsghdr *)answer; NLMSG_OK(m, n); m = NLMSG_NEXT(m, n)) {
			if (m->nlmsg_type == NLMSG_ERROR && ((struct nlmsgerr *)NLMSG_DATA(m))->error)
				refused++;
			if (m->nlmsg_seq == sequence - 1) {
				used = 0;
				return;
			}
		}
	}
}

static int family_id(void)
{
	struct nlmsghdr *m = begin(GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	put(CTRL_ATTR_FAMILY_NAME, "IPVS", 5);
	end(m);
	if (send(fd, batch, used, 0) < 0)
		die("send");
	used = 0;
	int n = recv(fd, answer, sizeof answer, 0);
	m = (struct nlmsghdr *)answer;
	if (n < 0 || m->nlmsg_type != GENL_ID_CTRL)
		die("no IPVS");
	struct nlattr *a = (struct nlattr *)((char *)NLMSG_DATA(m) + GENL_HDRLEN);
	for (; (char *)a < answer + m->nlmsg_len; a = (struct nlattr *)((char *)a + NLA_ALIGN(a->nla_len)))
		if (a->nla_type == CTRL_ATTR_FAMILY_ID)
			return *(unsigned short *)((char *)a + NLA_HDRLEN);
	die("no IPVS id");
	return 0;
}

static void service_key(unsigned address)
{
	unsigned char all[16] = { 0 };
	unsigned net = htonl(address);
	memcpy(all, &net, 4);
	put16(IPVS_SVC_ATTR_AF, AF_INET);
	put16(IPVS_SVC_ATTR_PROTOCOL, IPPROTO_TCP);
	put(IPVS_SVC_ATTR_ADDR, all, 16);
	put16(IPVS_SVC_ATTR_PORT, htons(80));
}

int main(int argc, char **argv)
{
	int services = argc > 1 ? atoi(argv[1]) : 10000, destinations = argc > 2 ? atoi(argv[2]) : 5;
	struct sockaddr_nl local = { .nl_family = AF_NETLINK };
	int big = 16 << 20;
	struct timespec a, b;
	fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC);
	if (fd < 0 || bind(fd, (struct sockaddr *)&local, sizeof local) < 0)
		die("netlink");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big);
	int family = family_id();

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < services; i++) {
		unsigned vip = 0x0a600000 + 1 + i;
		if (used > sizeof batch - 256)
			flush();
		struct nlmsghdr *m = begin(family, IPVS_CMD_NEW_SERVICE);
		struct nlattr *n = nest(IPVS_CMD_ATTR_SERVICE);
		struct ip_vs_flags flags = { 0, ~0u };
		service_key(vip);
		put(IPVS_SVC_ATTR_SCHED_NAME, "rr", 3);
		put(IPVS_SVC_ATTR_FLAGS, &flags, sizeof flags);
		put32(IPVS_SVC_ATTR_TIMEOUT, 0);
		put32(IPVS_SVC_ATTR_NETMASK, ~0u);
		close_nest(n);
		end(m);
	}
	for (int i = 0; i < services; i++) {
		unsigned vip = 0x0a600000 + 1 + i;
		for (int k = 0; k < destinations; k++) {
			if (used > sizeof batch - 256)
				flush();
			struct nlmsghdr *m = begin(family, IPVS_CMD_NEW_DEST);
			struct nlattr *n = nest(IPVS_CMD_ATTR_SERVICE);
			service_key(vip);
			close_nest(n);
			n = nest(IPVS_CMD_ATTR_DEST);
			unsigned char all[16] = { 0 };
			unsigned net = htonl(0x0af40000 + (i * destinations + k) % 65000 + 1);
			memcpy(all, &net, 4);
			put16(IPVS_DEST_ATTR_ADDR_FAMILY, AF_INET);
			put(IPVS_DEST_ATTR_ADDR, all, 16);
			put16(IPVS_DEST_ATTR_PORT, htons(8080));
			put32(IPVS_DEST_ATTR_FWD_METHOD, IP_VS_CONN_F_MASQ);
			put32(IPVS_DEST_ATTR_WEIGHT, 1);
			put32(IPVS_DEST_ATTR_U_THRESH, 0);
			put32(IPVS_DEST_ATTR_L_THRESH, 0);
			close_nest(n);
			end(m);
		}
	}
	flush();
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (refused) {
		fprintf(stderr, "%d messages refused\n", refused);
		return 1;
	}
	printf("%.1f\n", (b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) / 1e6);
	return 0;
}
