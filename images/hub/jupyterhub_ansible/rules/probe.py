"""The probe that tries connections from inside the users' network, and what its results mean."""

from collections.abc import Collection, Mapping

NAMES = "names"
"""Name and target of the DNS lookup, which asks the name server that Docker configures for every container."""
TRIES = 3
"""A target that must be unreachable counts as reachable after so many successes in a row."""
# A refused connection counts as reached for targets that must be reachable.  For the others it does not: our own
# listeners accept connections there, so a firewall refused it.  The proxy's API is beside one of them, on the control
# network only.  For DNS, "no such name" is an answer.
TRY = """
import concurrent.futures, json, socket, sys
QUERY = bytes([42, 42, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 18]) + b"jupyterhub-ansible" + bytes([7]) + b"invalid"
QUERY += bytes([0, 0, 1, 0, 1])
def looked_up():
    for line in open("/etc/resolv.conf"):
        key, server = (line.split() + ["", ""])[:2]
        if key == "nameserver":
            try:
                with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as asked:
                    asked.settimeout(5)
                    asked.connect((server, 53))
                    asked.send(QUERY)
                    answer = asked.recv(512)
                if answer[:2] == QUERY[:2] and answer[3] & 15 in (0, 3):
                    return True
            except OSError:
                pass
    return False
def reached(name, way):
    if way == "names":
        return looked_up()
    host, _, port = way.rpartition(":")
    try:
        # A shorter timeout for what must be closed: if it is open, the kernel connects at once.
        socket.create_connection((host, int(port)), timeout=2 if name in open_ways else 1).close()
    except ConnectionRefusedError:
        return name in open_ways
    except OSError:
        return False
    return True
ways, open_ways = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(len(ways)) as pool:
    print(json.dumps(dict(zip(ways, pool.map(reached, ways, ways.values())))))
"""
"""A program whose argument is JSON: the targets (`host:port` by name) and the names of those that must be reachable.
It prints as JSON which ones it reached."""


def open_ones(reached: Mapping[str, bool], open_ways: Collection[str]) -> list[str]:
    """Return the targets that were reached but must not be."""
    return [name for name, was in reached.items() if was and name not in (*open_ways, NAMES)]


def closed_ones(reached: Mapping[str, bool], open_ways: Collection[str]) -> list[str]:
    """Return the targets that were not reached but must be."""
    return [name for name in open_ways if not reached.get(name)]
