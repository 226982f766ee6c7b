"""What the machine's kernel lets a user's server do, tried by code in the user's notebook kernel."""

from __future__ import annotations

import json

from e2e.client import Kernel

_CALLS = """
import ctypes, errno, json, mmap, os, platform, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
SOCKET, SOCKETPAIR = {"x86_64": (41, 53), "aarch64": (198, 199)}[platform.machine()]
IO_URING_SETUP, STREAM, SEQPACKET = 425, 1, 5
scratch = ctypes.create_string_buffer(256)

def call(number, *arguments):
    if libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments)) >= 0:
        return "open"
    return errno.errorcode[ctypes.get_errno()]

def call_of_32_bits(number, first=0, second=0, third=0):
    # push rbx; mov eax, edi; mov ebx, esi; mov r8d, ecx; mov ecx, edx; mov edx, r8d; int 0x80; pop rbx; ret
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("53 89f8 89f3 4189c8 89d1 4489c2 cd80 5b c3"))
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    answer = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_uint] * 4)(address)(number, first, second, third)
    return "open" if answer >= 0 else errno.errorcode[-answer]

def below_4_gb(data):
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    MAP_32BIT = 0x40
    address = libc.mmap(None, 4096, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_32BIT, -1, 0)
    ctypes.memmove(address, data, len(data))
    return address

seen = {}
for family in range(1, 46):
    seen[f"socket {family}"] = call(SOCKET, family, SEQPACKET if family == 38 else STREAM, 0)
seen["socket 2**32 + 38"] = call(SOCKET, 2**32 + 38, SEQPACKET, 0)
seen["socketpair 1"] = call(SOCKETPAIR, 1, STREAM, 0, ctypes.addressof(scratch))
seen["socketpair 38"] = call(SOCKETPAIR, 38, SEQPACKET, 0, ctypes.addressof(scratch))
seen["io_uring"] = call(IO_URING_SETUP, 4, ctypes.addressof(scratch))
if platform.machine() == "x86_64":
    seen["32 bits"] = call_of_32_bits(20)
    seen["32 bits: socket 38"] = call_of_32_bits(359, 38, SEQPACKET)
    seen["32 bits: io_uring"] = call_of_32_bits(425, 4)
    seen["32 bits: socketcall"] = call_of_32_bits(102, 1, below_4_gb(struct.pack("III", 2, STREAM, 0)))
print(json.dumps(seen))
"""

REFUSED, UNKNOWN = "EPERM", "ENOSYS"


def assert_no_calls_with_a_history(kernel: Kernel) -> None:
    """Only the four families of sockets that programs use, no io_uring; 32-bit programs run."""
    seen: dict[str, str] = json.loads(kernel.execute(_CALLS).stdout)
    usual = {"socket 1", "socket 2", "socket 10", "socketpair 1", "32 bits"}
    # Netlink has no stream sockets: this is the kernel's own answer.
    expected = dict.fromkeys(seen, REFUSED) | dict.fromkeys(usual & seen.keys(), "open")
    expected["socket 16"] = "ESOCKTNOSUPPORT"
    if "32 bits" in seen:
        # Not "open" with a kernel that was built without 32-bit support.
        expected |= {"32 bits": seen["32 bits"], "32 bits: socketcall": UNKNOWN}
    assert seen == expected


_WORK = r"""
import multiprocessing.shared_memory, subprocess, textwrap
def shell(script):
    done = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, cwd="/tmp")
    assert done.returncode == 0, done.stderr
shell("rm -rf repository && git init -q repository && cd repository && git -c user.name=a -c user.email=a@b commit -q"
      " --allow-empty -m x && git gc -q")
program = textwrap.dedent('''
    import multiprocessing, sys
    if __name__ == "__main__":
        with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
            assert pool.map(abs, [-1, -2]) == [1, 2]
''')
open("/tmp/pool.py", "w").write(program)
for method in ("fork", "spawn", "forkserver"):
    shell(f"python /tmp/pool.py {method}")
multiprocessing.shared_memory.SharedMemory(create=True, size=4096).unlink()

import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
child = subprocess.Popen(["sleep", "60"])
assert libc.ptrace(PTRACE_ATTACH, child.pid, 0, 0) == 0, os.strerror(ctypes.get_errno())
assert os.WIFSTOPPED(os.waitpid(child.pid, 0)[1])
assert libc.ptrace(PTRACE_DETACH, child.pid, 0, 0) == 0
child.kill()
print("done")
"""


def assert_work_goes_on(kernel: Kernel) -> None:
    """Git, multiprocessing, and a debugger on one's own process work."""
    output = kernel.execute(_WORK)
    assert output.stdout.strip() == "done", output


_TAKE = """
import ctypes, errno, fcntl, json, os, select, struct, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
IO_SETUP = {"x86_64": 206, "aarch64": 0}[os.uname().machine]

def checked(answer):
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def aio(events):
    checked(libc.syscall(IO_SETUP, events, ctypes.byref(ctypes.c_ulong(0))))

def pipe():
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 2**20)
    return ends

TAKE = {
    "inotify": lambda: checked(libc.inotify_init1(0)),
    "pipe": pipe,
    "pty": os.openpty,
    "aio": lambda: aio(4096),
}
def taken(kind, most):
    for number in range(most):
        try:
            TAKE[kind]()
        except OSError as error:
            return f"{number}: {errno.errorcode[error.errno]}"
    return "enough"
"""
# More than the kernel grants a user id, or the whole machine, unless the limits were raised.
_MANY = {"inotify": 200, "pipe": 80, "pty": 3200, "aio": 20}


def assert_one_cannot_take_all(greedy: Kernel, other: Kernel) -> None:
    """While one server holds more than the usual limits of them all, another one gets what it needs.

    This takes a few MB of each kind, which are freed with the kernel.
    """
    for kernel in (greedy, other):
        assert not kernel.execute(_TAKE).stderr
    took = json.loads(greedy.execute(f"print(json.dumps({{k: taken(k, n) for k, n in {_MANY!r}.items()}}))").stdout)
    got = json.loads(other.execute("print(json.dumps({kind: taken(kind, 4) for kind in TAKE}))").stdout)
    assert got == dict.fromkeys(_MANY, "enough"), f"{got} after {took}; is this machine's engine somebody else's?"
    # Otherwise this would prove nothing.
    assert took == dict.fromkeys(_MANY, "enough")
