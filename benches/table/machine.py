"""What the benchmark asks of the machine: running programs, dropping caches, looking at a daemon."""

import os
import platform
import signal
import subprocess
import tempfile
import time

DROP_CACHES = "/proc/sys/vm/drop_caches"


class Failure(Exception):
    """Something could not be measured; the text says why."""


class NotHere(Failure):
    """It cannot be measured with this system, or on this machine, at all."""


def run(command, cwd=None, timeout=600):
    """Runs a program to its end and returns what it printed. It has a group of its own, which ends with it."""
    # Daemons keep what they were given as standard error; a pipe would be waited for until they end.
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                                   start_new_session=True)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            end_group(process)
            raise Failure("took longer than %d s" % timeout) from None
        except BaseException:
            end_group(process)
            raise
        if process.returncode:
            errors.seek(0)
            lines = [line for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
            raise Failure(" / ".join(lines[-2:])[-300:] if lines else "%s: status %d" % (command[0], process.returncode))
    return output.decode(errors="replace")


def end_group(process):
    """Ends a process and its children."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def drop_caches():
    """Makes the kernel forget names and inodes that nobody uses; data stays. False where we may not."""
    try:
        with open(DROP_CACHES, "w", encoding="ascii") as file:
            file.write("2\n")
    except OSError:
        return False
    return True


def describe():
    """The machine, in words for the head of a table."""
    return {"kernel": platform.release(), "processors": os.cpu_count(), "architecture": platform.machine()}


class Daemon:
    """The processes that serve one mount, found by their command line, which names the mount point."""

    def __init__(self, mountpoint):
        self.pids = sorted(pid for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
                           if mountpoint.encode() in arguments(pid))
        # The one that answers; others (a watcher) are its children.
        self.main = next((pid for pid in self.pids if parent(pid) not in self.pids), None)

    def cpu(self):
        """Nanoseconds of processor time so far, of all processes and threads. The kernel counts a process's threads
        together in ticks of 10 ms; living threads are known to the nanosecond, so where none ended these are taken."""
        return {pid: (ticks(pid), threads(pid)) for pid in self.pids}

    @staticmethod
    def cpu_between(before, after):
        """What was used from one `cpu()` to another."""
        total = 0
        for pid, (end, threads_then) in after.items():
            start, threads_before = before.get(pid, (0, {}))
            if threads_before.keys() - threads_then.keys() or not threads_then:
                total += end - start
            else:
                total += sum(time_used - threads_before.get(thread, 0) for thread, time_used in threads_then.items())
        return total

    def reset_peak(self):
        """Lets VmHWM begin anew (proc(5), clear_refs). Without the privilege it counts from the mount on."""
        try:
            with open("/proc/%s/clear_refs" % self.main, "w", encoding="ascii") as file:
                file.write("5\n")
        except OSError:
            pass

    def memory(self):
        """Resident now, and at most, in KiB."""
        fields = status(self.main)
        return int(fields["VmRSS"].split()[0]), int(fields["VmHWM"].split()[0])

    def descriptors(self):
        """How many files it has open."""
        return len(os.listdir("/proc/%d/fd" % self.main))

    def wait(self, seconds=10):
        """Waits until all have ended; ends those that outlive it."""
        end = time.monotonic() + seconds
        while any(alive(pid) for pid in self.pids):
            if time.monotonic() > end:
                for pid in filter(alive, self.pids):
                    os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.01)


def arguments(pid):
    """The command line of a process; empty where it has gone."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def status(pid):
    """The fields of /proc/PID/status."""
    try:
        with open("/proc/%s/status" % pid, encoding="utf-8", errors="replace") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    except OSError as error:
        raise Failure("the daemon has gone: %s" % error) from None


def parent(pid):
    """The parent's number."""
    return int(status(pid)["PPid"])


def alive(pid):
    """Whether it runs, and does not only wait to be reaped."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def ticks(pid):
    """Processor time from /proc/PID/stat, in nanoseconds."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def threads(pid):
    """Thread to nanoseconds, where the kernel keeps them (CONFIG_SCHED_INFO)."""
    found = {}
    try:
        for thread in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/schedstat" % (pid, thread), encoding="ascii") as file:
                found[thread] = int(file.read().split()[0])
    except OSError:
        return {}
    return found
