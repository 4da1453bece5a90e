import { constants } from 'node:os'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { formatIpv4, parseIpv4 } from '../../src/os/inet.ts'
import { RawSender } from '../../src/os/raw-socket.ts'
import { type UdpBatchOptions, UdpBatchSocket } from '../../src/os/udp-socket.ts'
import { removeNetns } from '../support/netns.ts'
import { collect, makePair, type Pair, readable } from '../support/os-lab.ts'
import { buildUdp4, pattern } from '../support/packets.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('os/raw-udp')
const lab = (name: string, run: () => void): void => testIf(missingRoot(), it, name, run)

const { EMSGSIZE, ENETUNREACH } = constants.errno
const LEFT = parseIpv4('10.9.0.1')
const RIGHT = parseIpv4('10.9.0.2')
const NOWHERE = parseIpv4('203.0.113.1')

interface Datagram {
  payload: Uint8Array
  source: string
  port: number
}

let pair: Pair

it.before(async () => {
  if (missingRoot() === undefined) pair = await makePair()
})
it.after(removeNetns)

const openLeft = (options: Partial<UdpBatchOptions> = {}): UdpBatchSocket =>
  pair.left.run(() => UdpBatchSocket.open({ address: '10.9.0.1', port: 0, ...options }))
const openRight = (options: Partial<UdpBatchOptions> = {}): UdpBatchSocket =>
  pair.right.run(() => UdpBatchSocket.open({ address: '10.9.0.2', port: 0, ...options }))

const take = (socket: UdpBatchSocket, count: number): Datagram[] => {
  const seen: Datagram[] = []
  collect(socket.fd, count, () =>
    socket.receive(count, (buffer, offset, length, source, port) => {
      seen.push({ payload: buffer.slice(offset, offset + length), source: formatIpv4(source), port })
    }),
  )
  return seen
}

const packet = (destinationPort: number, payload: Uint8Array, source = '10.9.0.77'): Uint8Array =>
  buildUdp4({ source, destination: '10.9.0.2', sourcePort: 4000, destinationPort, payload })

lab('raw: delivers whole packets, with a source of the caller, to a peer', () => {
  const receiver = openRight()
  const raw = pair.left.run(() => RawSender.open({ batch: 8 }))
  for (let n = 0; n < 20; n++) raw.queue(packet(receiver.port, pattern(30 + n, n)), 0, 58 + n, RIGHT)
  assert.is(raw.sent, 16, 'two full batches left by themselves')
  assert.is(raw.flush(), 0)
  assert.is(raw.sent, 20)
  const seen = take(receiver, 20)
  seen.forEach(({ payload, source, port }, n) => {
    assert.equal(payload, pattern(30 + n, n))
    assert.is(source, '10.9.0.77')
    assert.is(port, 4000)
  })
  raw.close()
  receiver.close()
})

lab('raw: copies, so the caller may reuse its buffer, and honours the offset', () => {
  const receiver = openRight()
  const raw = pair.left.run(() => RawSender.open())
  const buffer = new Uint8Array(4096)
  for (const n of [1, 2]) {
    buffer.set(packet(receiver.port, pattern(40, n)), 777)
    raw.queue(buffer, 777, 68, RIGHT)
    buffer.fill(0xee)
  }
  assert.is(raw.flush(), 0)
  assert.equal(
    take(receiver, 2).map(({ payload }) => payload),
    [pattern(40, 1), pattern(40, 2)],
  )
  raw.close()
  receiver.close()
})

lab('raw: routes by the given destination, not by the packet', () => {
  const receiver = openRight()
  const raw = pair.left.run(() => RawSender.open())
  const elsewhere = buildUdp4({
    source: '10.9.0.1',
    destination: '203.0.113.9',
    destinationPort: receiver.port,
  })
  raw.queue(elsewhere, 0, elsewhere.length, RIGHT)
  assert.is(raw.flush(), 0, 'there is no route to 203.0.113.9 here')
  raw.close()
  receiver.close()
})

lab('raw: a packet that is refused does not hold up the others, and is counted', () => {
  const receiver = openRight()
  const raw = pair.left.run(() => RawSender.open())
  const large = packet(receiver.port, pattern(1600)) // fits a slot, not the MTU
  raw.queue(large, 0, large.length, RIGHT)
  raw.queue(packet(receiver.port, pattern(9, 1)), 0, 37, RIGHT)
  raw.queue(packet(receiver.port, pattern(9, 2)), 0, 37, NOWHERE)
  raw.queue(large, 0, large.length, RIGHT)
  raw.queue(packet(receiver.port, pattern(9, 3)), 0, 37, RIGHT)
  assert.is(raw.flush(), 3)
  assert.equal(
    take(receiver, 2).map(({ payload }) => payload),
    [pattern(9, 1), pattern(9, 3)],
  )
  assert.equal(
    raw.errors,
    new Map([
      [EMSGSIZE, 2],
      [ENETUNREACH, 1],
    ]),
  )
  assert.throws(
    () => raw.queue(new Uint8Array(3000), 0, 3000, RIGHT),
    (error: unknown) => error instanceof RangeError,
  )
  assert.is(raw.flush(), 0)
  raw.close()
  receiver.close()
})

lab('udp: batches both ways, header and payload joined, with addresses', () => {
  const left = openLeft({ batch: 4 })
  const right = openRight({ batch: 4 })
  for (let n = 0; n < 11; n++) {
    const tail = n % 2 === 0 ? pattern(50, n) : null
    left.queue(pattern(16, n + 100), 12, tail, 10, 30, RIGHT, right.port)
  }
  left.flush()
  const seen = take(right, 11)
  seen.forEach(({ payload, source, port }, n) => {
    const expected = [
      ...pattern(16, n + 100).subarray(0, 12),
      ...(n % 2 === 0 ? pattern(50, n).subarray(10, 40) : []),
    ]
    assert.equal([...payload], expected)
    assert.is(source, '10.9.0.1')
    assert.is(port, left.port)
  })
  right.queue(pattern(5), 5, null, 0, 0, LEFT, left.port)
  right.flush()
  assert.equal(take(left, 1)[0].payload, pattern(5))
  assert.is(left.sent, 11)
  left.close()
  right.close()
})

lab('udp: takes no more than asked for, and answers 0 when there is nothing', () => {
  const left = openLeft()
  const right = openRight()
  for (let n = 0; n < 5; n++) left.queue(pattern(5, n), 5, null, 0, 0, RIGHT, right.port)
  left.flush()
  assert.is(readable(right.fd, 1000), true)
  const seen: number[] = []
  const handler = (_: Uint8Array, __: number, length: number): void => void seen.push(length)
  assert.is(right.receive(2, handler), 2)
  take(right, 3)
  assert.is(right.receive(10, handler), 0)
  assert.is(seen.length, 2)
  assert.is(right.receiveErrors.size, 0)
  left.close()
  right.close()
})

lab('udp: never fragments: a datagram above the MTU is refused, and counted', () => {
  const left = openLeft()
  const right = openRight()
  left.queue(pattern(1473), 1473, null, 0, 0, RIGHT, right.port)
  left.queue(pattern(1472), 1472, null, 0, 0, RIGHT, right.port)
  assert.is(left.flush(), 1)
  assert.equal(left.errors, new Map([[EMSGSIZE, 1]]))
  assert.is(take(right, 1)[0].payload.length, 1472)
  left.close()
  right.close()
})

lab('udp: a datagram longer than a slot is dropped and counted', () => {
  const left = openLeft()
  const right = openRight({ slotSize: 64 })
  left.queue(pattern(65), 65, null, 0, 0, RIGHT, right.port)
  left.queue(pattern(64), 64, null, 0, 0, RIGHT, right.port)
  left.flush()
  const seen: number[] = []
  collect(right.fd, 2, () => right.receive(2, (_, __, length) => void seen.push(length)))
  assert.equal(seen, [64])
  assert.is(right.truncated, 1)
  assert.throws(
    () => right.queue(pattern(40), 40, pattern(30), 0, 30, LEFT, 9),
    (error: unknown) => error instanceof RangeError,
  )
  left.close()
  right.close()
})

lab('udp: says which address or port cannot be had', () => {
  const right = openRight()
  assert.throws(() => openRight({ port: right.port }), /EADDRINUSE.*ss -lnp/)
  assert.throws(() => openRight({ address: '10.9.9.9' }), /10\.9\.9\.9:0.*EADDRNOTAVAIL/)
  assert.throws(() => openRight({ address: 'localhost' }), /not an IPv4 address/)
  right.close()
})

it.run()
