import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ShuntError } from '../../../src/errors.ts'
import {
  type DecodedFrame,
  decodeFrame,
  encodeEnded,
  encodeGoodbye,
  encodeHealthFrame,
  encodeHeartbeat,
  encodeHeartbeatEcho,
  encodeHello,
  encodePlumb,
  encodeUnplumb,
  type FlowRecord,
  FrameReader,
  MAX_BATCH_RECORDS,
  MAX_FRAME_BYTES,
  MAX_HEALTH_BODY_BYTES,
} from '../../../src/gossip/frames.ts'
import { MAX_HEALTH_BYTES } from '../../../src/health/codec.ts'

const it = suite('gossip frames')
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const bytes = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const frameError = (pattern: RegExp) => (error: unknown) =>
  error instanceof ShuntError && error.code === 'SHUNT_ERR_FRAME' && pattern.test(error.message)

const v4 = (a: number) => [0, 0, 0xffff, a]
const ipv4: FlowRecord = {
  key: Uint32Array.from([...v4(0x0a630105), ...v4(0x0a630001), 0xc0010050, 6]),
  host: Uint32Array.from(v4(0x0a0a001f)),
}
const ipv6: FlowRecord = {
  key: Uint32Array.from([0x20010db8, 0, 0, 5, 0x20010db8, 1, 2, 3, 0xc0010035, 17]),
  host: Uint32Array.from([0xfd000000, 0, 0, 31]),
}
const bare = ({ key }: FlowRecord): FlowRecord => ({ key, host: new Uint32Array(4) })
const hello = { minVersion: 1, maxVersion: 2, name: 'f1', roles: 3, epoch: 0xdeadbeef }

const v4Wire = '0a630105 0a630001 c0010050 06'
const v6Wire = '20010db8000000000000000000000005 20010db8000000010000000200000003 c0010035 11'
/** Every message: its bytes, written out by hand from the diagrams, and its value. */
const golden: [string, Uint8Array, string, DecodedFrame][] = [
  ['HELLO', encodeHello(hello), '0000000e 01 0001 0002 0003 deadbeef 02 6631', { type: 'hello', ...hello }],
  [
    'HEARTBEAT',
    encodeHeartbeat({ sequence: 7, sentMs: 1.5, draining: true, wantsEcho: true }),
    '0000000e 02 00000007 3ff8000000000000 03',
    { type: 'heartbeat', sequence: 7, sentMs: 1.5, draining: true, wantsEcho: true },
  ],
  [
    'HEARTBEAT without flags',
    encodeHeartbeat({ sequence: 0xffffffff, sentMs: 0, draining: false, wantsEcho: false }),
    '0000000e 02 ffffffff 0000000000000000 00',
    { type: 'heartbeat', sequence: 0xffffffff, sentMs: 0, draining: false, wantsEcho: false },
  ],
  [
    'HEARTBEAT_ECHO',
    encodeHeartbeatEcho({ sequence: 7, sentMs: 1.5 }),
    '0000000d 03 00000007 3ff8000000000000',
    { type: 'heartbeat-echo', sequence: 7, sentMs: 1.5 },
  ],
  ['GOODBYE', encodeGoodbye('né'), '00000005 04 03 6ec3a9', { type: 'goodbye', reason: 'né' }],
  ['GOODBYE with no reason', encodeGoodbye(''), '00000002 04 00', { type: 'goodbye', reason: '' }],
  [
    'PLUMB',
    encodePlumb([ipv4, ipv6]),
    `0000004b 05 0002 04 ${v4Wire} 0a0a001f 09 ${v6Wire} fd00000000000000000000000000001f`,
    { type: 'plumb', records: [ipv4, ipv6] },
  ],
  [
    'UNPLUMB',
    encodeUnplumb([bare(ipv4)]),
    `00000011 06 0001 00 ${v4Wire}`,
    { type: 'unplumb', records: [bare(ipv4)] },
  ],
  [
    'ENDED',
    encodeEnded([bare(ipv6)]),
    `00000029 07 0001 01 ${v6Wire}`,
    { type: 'ended', records: [bare(ipv6)] },
  ],
]
const health = encodeHealthFrame(bytes('8001ff'))

for (const [name, encoded, wire, value] of golden) {
  it(`${name}: golden bytes both ways`, () => {
    assert.is(hex(encoded), wire.replaceAll(' ', ''))
    assert.equal(decodeFrame(bytes(wire).subarray(4)), value)
    assert.equal(new FrameReader().push(bytes(wire)), [value])
  })

  it(`${name}: truncated at every length, and one byte too long`, () => {
    const content = bytes(wire).subarray(4)
    for (let length = 0; length < content.length; length++)
      assert.throws(() => decodeFrame(content.slice(0, length)), frameError(/./), `length ${length}`)
    const longer = new Uint8Array(content.length + 1)
    longer.set(content)
    // HELLO alone may grow in later versions.
    if (name === 'HELLO') assert.equal(decodeFrame(longer), value)
    else assert.throws(() => decodeFrame(longer), frameError(/./))
  })
}

it('HEALTH: golden bytes both ways; empty and above the cap are refused; the body is a copy', () => {
  assert.is(hex(health), '000000040b8001ff')
  const body = bytes('8001ff')
  assert.equal(decodeFrame(health.subarray(4)), { type: 'health', body })
  const reader = new FrameReader()
  reader.push(health.subarray(0, 5))
  const [first] = reader.push(health.subarray(5))
  reader.push(encodeHealthFrame(bytes('000000')).subarray(0, 7))
  assert.equal(first, { type: 'health', body })
  assert.throws(() => decodeFrame(bytes('0b')), frameError(/health of 0 bytes/))
  const above = new Uint8Array(2 + MAX_HEALTH_BODY_BYTES)
  above[0] = 11
  assert.throws(() => decodeFrame(above), frameError(/health of 262145 bytes/))
  assert.throws(() => encodeHealthFrame(new Uint8Array(0)), /1 to 262144 bytes, not 0/)
  assert.throws(() => encodeHealthFrame(new Uint8Array(MAX_HEALTH_BODY_BYTES + 1)), /not 262145/)
  assert.is(MAX_HEALTH_BODY_BYTES, MAX_HEALTH_BYTES)
  assert.ok(encodeHealthFrame(new Uint8Array(MAX_HEALTH_BODY_BYTES)).length <= 4 + MAX_FRAME_BYTES)
})

it('a mixed IPv4 client and IPv6 virtual IP survives as it is', () => {
  const mixed: FlowRecord = {
    key: Uint32Array.from([...v4(1), 1, 2, 3, 4, 5, 6]),
    host: Uint32Array.from(v4(9)),
  }
  assert.equal(decodeFrame(encodePlumb([mixed]).subarray(4)), { type: 'plumb', records: [mixed] })
})

it('lengths: 0 and above the cap are refused at once, also byte by byte; the cap itself is not', () => {
  for (const length of [0, MAX_FRAME_BYTES + 1, 0xffffffff]) {
    const header = Buffer.alloc(4)
    header.writeUInt32BE(length)
    assert.throws(() => new FrameReader().push(header), frameError(/impossible length/))
    const slow = new FrameReader()
    for (let i = 0; i < 3; i++) assert.equal(slow.push(header.subarray(i, i + 1)), [])
    assert.throws(() => slow.push(header.subarray(3)), frameError(/impossible length/))
    assert.throws(() => slow.push(encodeGoodbye('')), frameError(/after an invalid frame/))
    assert.is(slow.heldBytes, 0)
  }
  const largest = Buffer.alloc(4 + MAX_FRAME_BYTES, 0xc8)
  largest.writeUInt32BE(MAX_FRAME_BYTES)
  const reader = new FrameReader()
  assert.equal(reader.push(largest), [])
  assert.is(reader.skipped, 1)
})

it('types: 0 is refused; unknown higher ones are skipped, counted, and the next frame is read', () => {
  assert.throws(() => new FrameReader().push(bytes('00000001 00')), frameError(/impossible type 0/))
  const reader = new FrameReader()
  const frames = reader.push(bytes('00000003 7f ffff 00000001 ff 00000002 04 00'))
  assert.equal(frames, [{ type: 'goodbye', reason: '' }])
  assert.is(reader.skipped, 2)
})

it('batch caps: none, one too many, and the most that is allowed, also all IPv6', () => {
  for (const encode of [encodePlumb, encodeUnplumb, encodeEnded]) assert.throws(() => encode([]), RangeError)
  assert.throws(() => encodePlumb(Array(MAX_BATCH_RECORDS + 1).fill(ipv4)), RangeError)
  const full = encodePlumb(Array(MAX_BATCH_RECORDS).fill(ipv6))
  assert.ok(full.length <= 4 + MAX_FRAME_BYTES)
  const [frame] = new FrameReader().push(full)
  assert.is(frame?.type === 'plumb' && frame.records.length, MAX_BATCH_RECORDS)
  assert.throws(() => decodeFrame(bytes('05 0000')), frameError(/batch of 0/))
  assert.throws(() => decodeFrame(bytes('06 1001')), frameError(/batch of 4097/))
})

it('records: hosts where none belong, none where one does, zero hosts, undefined bits', () => {
  assert.throws(() => decodeFrame(bytes(`05 0001 00 ${v4Wire}`)), frameError(/no host/))
  assert.throws(() => decodeFrame(bytes(`06 0001 04 ${v4Wire} 0a0a001f`)), frameError(/where none belongs/))
  assert.throws(() => decodeFrame(bytes(`07 0001 04 ${v4Wire} 0a0a001f`)), frameError(/where none belongs/))
  assert.throws(() => decodeFrame(bytes(`05 0001 08 ${v4Wire} ${'00'.repeat(16)}`)), frameError(/all zeros/))
  for (const kind of ['0c', '02', '10', '80'])
    assert.throws(
      () => decodeFrame(bytes(`05 0001 ${kind} ${v4Wire} ${'11'.repeat(16)}`)),
      frameError(/kind|no host/),
    )
  assert.throws(() => encodePlumb([bare(ipv4)]), RangeError)
  assert.throws(() => encodeUnplumb([ipv4]), RangeError)
  assert.throws(() => encodePlumb([{ ...ipv4, key: ipv4.key.with(9, 256) }]), RangeError)
})

it('HELLO: impossible names and versions', () => {
  for (const name of ['', 'F1', 'a b', 'a'.repeat(64), 'é'])
    assert.throws(() => encodeHello({ ...hello, name }), RangeError)
  assert.throws(() => decodeFrame(bytes('01 0001 0002 0003 deadbeef 00')), frameError(/name/))
  assert.throws(() => decodeFrame(bytes('01 0001 0002 0003 deadbeef 02 4631')), frameError(/name/))
  assert.throws(
    () => decodeFrame(bytes(`01 0001 0002 0003 deadbeef 40 ${'61'.repeat(64)}`)),
    frameError(/name/),
  )
  assert.throws(() => decodeFrame(bytes('01 0003 0002 0003 deadbeef 02 6631')), frameError(/versions 3 to 2/))
  assert.throws(() => encodeHello({ ...hello, epoch: 2 ** 32 }), RangeError)
})

it('heartbeat times: NaN, infinite and negative are refused', () => {
  for (const time of ['7ff8000000000000', '7ff0000000000000', 'bff0000000000000'])
    assert.throws(() => decodeFrame(bytes(`03 00000001 ${time}`)), frameError(/impossible time/))
})

it('GOODBYE: cut at a character, control characters made harmless, bad UTF-8 refused', () => {
  const long = decodeFrame(encodeGoodbye('é'.repeat(200)).subarray(4))
  assert.is(long?.type === 'goodbye' && long.reason, 'é'.repeat(127))
  const rude = decodeFrame(encodeGoodbye('a\u001b[2J\n\u202eb').subarray(4))
  assert.is(rude?.type === 'goodbye' && rude.reason, 'a?[2J??b')
  assert.throws(() => decodeFrame(bytes('04 01 ff')), frameError(/UTF-8/))
  assert.ok(encodeGoodbye('\ud800').length > 6)
})

it('a stream split at every byte boundary gives the same frames', () => {
  const stream = Buffer.concat(golden.map(([, encoded]) => encoded))
  const expected = golden.map(([, , , value]) => value)
  for (let at = 0; at <= stream.length; at++) {
    const reader = new FrameReader()
    assert.equal([...reader.push(stream.subarray(0, at)), ...reader.push(stream.subarray(at))], expected)
    assert.is(reader.heldBytes, 0)
  }
  const reader = new FrameReader()
  const frames: DecodedFrame[] = []
  for (const byte of stream) frames.push(...reader.push(Uint8Array.of(byte)))
  assert.equal(frames, expected)
})

const u32 = fc.integer({ min: 0, max: 0xffffffff })
const address = fc.oneof(
  u32.map(v4),
  fc.tuple(u32, u32, u32, u32).filter(words => words.some(word => word !== 0)),
)
const record = fc
  .tuple(address, address, u32, fc.integer({ min: 0, max: 255 }), address)
  .map(([client, vip, ports, protocol, host]) => ({
    key: Uint32Array.from([...client, ...vip, ports, protocol]),
    host: Uint32Array.from(host),
  }))

it('property: every batch comes back as it was', () => {
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 20 }), records => {
      assert.equal(decodeFrame(encodePlumb(records).subarray(4)), { type: 'plumb', records })
      const bareRecords = records.map(bare)
      assert.equal(decodeFrame(encodeEnded(bareRecords).subarray(4)), { type: 'ended', records: bareRecords })
    }),
  )
})

it('property: random chunks of a valid stream give its frames', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(golden.length - 1), { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 30 }),
      (picks, sizes) => {
        const stream = Buffer.concat(picks.map(pick => golden[pick]![1]))
        const reader = new FrameReader()
        const frames: DecodedFrame[] = []
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = sizes[i % sizes.length]!
          frames.push(...reader.push(stream.subarray(at, at + size)))
          at += size
        }
        assert.equal(
          frames,
          picks.map(pick => golden[pick]![3]),
        )
      },
    ),
  )
})

it('property: hostile bytes give frames or SHUNT_ERR_FRAME, nothing else, and hold no more than a frame', () => {
  const framed = fc.uint8Array({ minLength: 1, maxLength: 80 }).map(content => {
    const frame = Buffer.alloc(4 + content.length)
    frame.writeUInt32BE(content.length)
    frame.set(content, 4)
    frame[4]! %= 10
    return new Uint8Array(frame)
  })
  const flipped = fc
    .tuple(fc.nat(golden.length - 1), fc.nat(), fc.integer({ min: 1, max: 255 }))
    .map(([pick, at, flip]) => {
      const copy = golden[pick]![1].slice()
      copy[at % copy.length]! ^= flip
      return copy
    })
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.uint8Array({ maxLength: 60 }), framed, flipped), { maxLength: 10 }),
      chunks => {
        const reader = new FrameReader()
        try {
          for (const chunk of chunks) {
            reader.push(chunk)
            assert.ok(reader.heldBytes < 4 + MAX_FRAME_BYTES)
          }
        } catch (error) {
          assert.ok(frameError(/./)(error), String(error))
        }
      },
    ),
    { numRuns: 3000 },
  )
})

it.run()
