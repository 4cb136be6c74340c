"""seccomp.py UNIT: the seccomp filter of a unit for x86-64 on standard output, as systemd would build it.

Takes SystemCallFilter= (groups are those that systemd-analyze knows), RestrictAddressFamilies= and MemoryDenyWriteExecute=.
"""

import re
import struct
import subprocess
import sys

ALLOW, EPERM, EAFNOSUPPORT = 0x7FFF0000, 0x00050001, 0x00050061
X86_64 = 0xC000003E
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}


def group(name):
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True)
    for line in listed.stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            yield from group(word)
        elif word and not word.startswith("#"):
            yield word


numbers = {}
for line in open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"):
    if found := re.match(r"#define __NR_(\w+) (\d+)", line):
        numbers[found[1]] = int(found[2])

allowed, families, execute = set(), None, True
for line in open(sys.argv[1]):
    key, _, value = line.strip().partition("=")
    if key == "SystemCallFilter":
        for word in value.lstrip("~").split():
            calls = set(group(word)) if word.startswith("@") else {word}
            allowed = allowed - calls if value.startswith("~") else allowed | calls
    elif key == "RestrictAddressFamilies":
        families = [FAMILIES[word] for word in value.split()]
    elif key == "MemoryDenyWriteExecute":
        execute = value != "yes"
# systemd needs it itself, to start the program.
allowed.add("execve")

program = []


def add(code, true, false, operand):
    program.append(struct.pack("=HBBI", code, true, false, operand))


LOAD, EQUAL, AND, RETURN = 0x20, 0x15, 0x54, 0x06


def if_call(name, body):
    """The body is skipped for other calls."""
    add(EQUAL, 0, len(body), numbers[name])
    for instruction in body:
        add(*instruction)


add(LOAD, 0, 0, 4)
add(EQUAL, 1, 0, X86_64)
add(RETURN, 0, 0, EPERM)
add(LOAD, 0, 0, 0)
if families:
    # The first argument.
    body = [(LOAD, 0, 0, 16)]
    for family in families:
        body += [(EQUAL, 0, 1, family), (RETURN, 0, 0, ALLOW)]
    if_call("socket", body + [(RETURN, 0, 0, EAFNOSUPPORT)])
if not execute:
    # The third argument: PROT_WRITE is 2, PROT_EXEC is 4.
    for name, denied in (("mmap", 6), ("mprotect", 4)):
        body = [(LOAD, 0, 0, 32), (AND, 0, 0, denied), (EQUAL, 0, 1, denied), (RETURN, 0, 0, EPERM)]
        if_call(name, body + [(RETURN, 0, 0, ALLOW)])
for name in sorted(allowed & numbers.keys()):
    if_call(name, [(RETURN, 0, 0, ALLOW)])
add(RETURN, 0, 0, EPERM)
sys.stdout.buffer.write(b"".join(program))
