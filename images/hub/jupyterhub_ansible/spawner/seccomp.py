"""The system calls that a user's server may make: a seccomp profile, sent to the engine with the container.

The engine's own profile is as old as the engine: Debian 12's allows io_uring and vsock, and those of both Debians allow
the kernel's crypto sockets (AF_ALG, CVE-2026-31431).  Ours is the same on every engine.

It allows what Moby's default profile allows a container without capabilities (github.com/moby/profiles,
seccomp/default.json of June 2026, Apache License 2.0, copyright the Moby authors), except:

- sockets of families other than FAMILIES.  Moby lists the refused ones; most families have no use here, and
  vulnerabilities are found in one after another;
- `socketcall`, with which 32-bit programs on x86 could open any socket, because a filter cannot follow pointers.  Such
  programs run, but without network;
- io_uring.

It uses only names and arguments, which engines since 20.10 understand.
"""

import json
from typing import Any

_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
FAMILIES = (_UNIX, _INET, _INET6, _NETLINK)
# PER_LINUX and PER_LINUX32, each with or without UNAME26, and the query for the current one.
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
# CLONE_NEW*: new namespaces, in which a process would have all capabilities.
_NAMESPACES = 0x7E020000
_ENOSYS = 38

_ALLOWED = """
    _llseek _newselect accept accept4 access adjtimex alarm arch_prctl arm_fadvise64_64 arm_sync_file_range bind
    breakpoint brk cacheflush cachestat capget capset chdir chmod chown chown32 clock_adjtime clock_adjtime64
    clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close
    close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old
    epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group
    faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown
    fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
    futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid
    getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp
    getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid
    getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch
    inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents
    io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule
    landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount
    listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack
    membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2
    modify_ldt mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap
    name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2
    pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64
    process_mrelease process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev
    pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg
    remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall riscv_flush_icache
    riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
    rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile
    sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address set_tls setfsgid
    setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid
    setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt
    setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
    sigprocmask sigreturn splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync
    sync_file_range sync_file_range2 syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun
    timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64
    timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat
    uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
"""


def _one_of(name: str, values: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return rules that allow a call with one of these as its first argument.

    An allow list, because arguments are compared as 64 bits while the kernel uses the lower 32 of a socket's family:
    "all but 38" would let 2**32 + 38 pass.
    """
    return [_rule(name, args=[{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]) for value in values]


def _rule(*names: str, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", **more}


def _unknown(name: str) -> dict[str, Any]:
    """Return a rule that makes a call look unsupported by the kernel."""
    return {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS}


def _profile() -> dict[str, Any]:
    no_namespaces = {"index": 0, "value": _NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        ],
        "syscalls": [
            # Omitting it is not enough: libseccomp adds it to the rules of the calls that it multiplexes.
            _unknown("socketcall"),
            _rule(*_ALLOWED.split()),
            *_one_of("socket", FAMILIES),
            # Other families have no pairs, but the kernel would load their modules before it fails.
            *_one_of("socketpair", (_UNIX,)),
            *_one_of("personality", _PERSONALITIES),
            _rule("clone", args=[no_namespaces]),
            # Its flags are behind a pointer.  Only if it is unsupported does the C library fall back to clone().
            _unknown("clone3"),
        ],
    }


PROFILE = json.dumps(_profile(), separators=(",", ":"))
"""The value for the engine's security option `seccomp=`."""
