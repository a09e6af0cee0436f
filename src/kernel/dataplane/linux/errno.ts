/** Names of Linux error numbers. The numbers are those of asm-generic: x86-64 and arm64 share them. */

import { KernelError } from "../errors.ts";

// include/uapi/asm-generic/errno-base.h and errno.h, in order from 1; 41 and 58 are aliases that Linux never returns.
const NAMES =
  ("EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK " +
    "EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK " +
    "EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP EWOULDBLOCK ENOMSG EIDRM ECHRNG EL2NSYNC " +
    "EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT EDEADLOCK EBFONT ENOSTR " +
    "ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW " +
    "ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK " +
    "EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT " +
    "EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN " +
    "ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE " +
    "EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED " +
    "EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON").split(" ");

/** The numbers that this code compares with. */
export const errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENOSPC: 28,
  EBADMSG: 74,
  ERESTART: 85,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENOBUFS: 105,
  ETIMEDOUT: 110,
} as const;

/** The name of an error number ("EEXIST"); "errno 524" for one without a name. Kernel-internal 524 is ENOTSUPP. */
export function errnoName(number: number): string {
  return number === 524 ? "ENOTSUPP" : NAMES[number - 1] ?? `errno ${number}`;
}

/** What Linux answered to one netlink message that it refused. */
export interface Refusal {
  /** Positive error number. */
  readonly errno: number;
  /** Text of the extended ack (NLMSGERR_ATTR_MSG). */
  readonly text?: string;
  /** Bytes from the start of the message to the attribute that Linux disliked (NLMSGERR_ATTR_OFFS). */
  readonly offset?: number;
}

/** The error for the caller: `op` is "create route", `object` what it was about. */
export function kernelError(
  op: string,
  refusal: Refusal,
  options: { readonly object?: string; readonly remedy?: string } = {},
): KernelError {
  const at = refusal.offset === undefined ? "" : `attribute at offset ${refusal.offset}`;
  const detail = [refusal.text ?? "", at].filter((part) => part !== "").join(", ");
  return new KernelError(op, errnoName(refusal.errno), {
    ...(options.object === undefined ? {} : { object: options.object }),
    ...(detail === "" ? {} : { detail }),
    ...(options.remedy === undefined ? {} : { remedy: options.remedy }),
  });
}
