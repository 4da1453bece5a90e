/** Who on a lab's network answers ARP or neighbour discovery for an address: names of nodes. */
import type { Lab } from '../../src/lab/lab.ts'

/** argv: address, seconds. Asks once, and writes the link-layer addresses that answer. */
const ASK = `
import ipaddress, socket, struct, sys, time
target = ipaddress.ip_address(sys.argv[1])
own = bytes.fromhex(open('/sys/class/net/eth0/address').read().strip().replace(':', ''))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(('eth0', 0))
s.settimeout(0.05)
def sum16(data):
    n = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while n > 0xffff: n = (n & 0xffff) + (n >> 16)
    return ~n & 0xffff
if target.version == 4:
    me = socket.inet_aton(sys.argv[3])
    s.send(b'\\xff' * 6 + own + b'\\x08\\x06' + bytes.fromhex('0001080006040001') + own + me + bytes(6) + target.packed)
else:
    me = socket.inet_pton(socket.AF_INET6, sys.argv[4])
    group = b'\\xff\\x02' + bytes(9) + b'\\x01\\xff' + target.packed[13:]
    body = struct.pack('!BBHI', 135, 0, 0, 0) + target.packed + b'\\x01\\x01' + own
    check = sum16(me + group + struct.pack('!IHBB', len(body), 0, 0, 58) + body)
    body = body[:2] + struct.pack('!H', check) + body[4:]
    s.send(b'\\x33\\x33' + group[12:] + own + b'\\x86\\xdd' + struct.pack('!IHBB', 6 << 28, len(body), 58, 255) + me + group + body)
seen, end = set(), time.time() + float(sys.argv[2])
while time.time() < end:
    try: frame = s.recv(2000)
    except socket.timeout: continue
    if target.version == 4:
        ours = frame[12:14] == b'\\x08\\x06' and frame[20:22] == b'\\x00\\x02' and frame[28:32] == target.packed
    else:
        ours = frame[12:14] == b'\\x86\\xdd' and frame[20] == 58 and frame[54] == 136 and frame[62:78] == target.packed
    if ours and frame[:6] == own: seen.add(frame[6:12].hex(':'))
print(*sorted(seen))
`

/** @param place that asks: the router, or a node */
export const whoAnswers = async (
  lab: Lab,
  address: string,
  place = 'router',
  seconds = 0.4,
): Promise<string[]> => {
  const own = lab.place(place)
  const argv = ['python3', '-c', ASK, address, String(seconds), own.address!, own.address6 ?? '::']
  const { code, stdout, stderr } = await lab.exec(place, argv)
  if (code !== 0) throw new Error(stderr)
  const names = new Map<string, string>()
  for (const node of lab.nodes) {
    const { stdout: mac } = await lab.exec(node.name, ['cat', '/sys/class/net/eth0/address'])
    names.set(mac.trim(), node.name)
  }
  return stdout
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(mac => names.get(mac) ?? mac)
}
