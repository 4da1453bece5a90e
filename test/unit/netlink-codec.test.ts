import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  MessageWriter,
  type NetlinkMessage,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLMSG_ERROR,
  readAttributes,
  readError,
  readMessages,
  readString,
} from '../../src/os/netlink/codec.ts'
import { ElementLane } from '../../src/os/netlink/nftables-lane.ts'
import { hex } from '../support/packets.ts'

const it = suite('netlink codec')

const buffer = (text: string): Buffer => Buffer.from(hex(text))

it('writes a message with attributes of all kinds: golden bytes', () => {
  const writer = new MessageWriter()
  const at = writer.beginMessage(0x0a0c, 0x0401, 7)
  writer.raw(Uint8Array.of(5, 0, 0, 0))
  writer.string(1, 'abcd')
  const nested = writer.beginNested(3)
  writer.u32(1, 0x01020304)
  writer.u32be(2, 0x01020304)
  writer.u64be(4, 0x1_0000_0002)
  writer.attribute(5, Uint8Array.of(0xaa))
  writer.endNested(nested)
  writer.endMessage(at)
  assert.is(
    writer.bytes().toString('hex'),
    [
      '48000000 0c0a 0104 07000000 00000000', // length 72, type, flags, sequence, port
      '05000000',
      '0900 0100 61626364 00000000', // length without padding
      '2800 0380', // nested, 40 bytes
      '0800 0100 04030201',
      '0800 0200 01020304',
      '0c00 0400 0000000100000002',
      '0500 0500 aa000000',
    ]
      .join('')
      .replaceAll(' ', ''),
  )
})

it('padding is zero also in memory that is used again', () => {
  const writer = new MessageWriter()
  writer.attribute(1, new Uint8Array(8).fill(0xff))
  writer.reset()
  writer.attribute(1, Uint8Array.of(1))
  assert.is(writer.bytes().toString('hex'), '0500010001000000')
})

it('grows without losing what was written', () => {
  const writer = new MessageWriter(8)
  for (let n = 0; n < 1000; n++) writer.u32(n, n)
  assert.is(writer.length, 8000)
  const attributes = readAttributes(writer.bytes())
  for (let n = 0; n < 1000; n++) assert.is(attributes.get(n)?.readUInt32LE(0), n)
})

it('refuses attributes that their 16-bit length cannot describe', () => {
  const writer = new MessageWriter()
  writer.attribute(1, new Uint8Array(65531))
  assert.throws(() => writer.attribute(1, new Uint8Array(65532)), /too long/)
  const nested = writer.beginNested(2)
  for (let n = 0; n < 3; n++) writer.attribute(1, new Uint8Array(30_000))
  assert.throws(() => writer.endNested(nested), /too long/)
})

it('what was written is what is read (property)', () => {
  const attribute = fc.record({
    type: fc.integer({ min: 0, max: 0x3fff }),
    value: fc.uint8Array({ maxLength: 300 }),
  })
  const message = fc.record({
    type: fc.integer({ min: 0, max: 0xffff }),
    flags: fc.integer({ min: 0, max: 0xffff }),
    sequence: fc.integer({ min: 0, max: 0xffffffff }),
    attributes: fc.uniqueArray(attribute, { selector: ({ type }) => type, maxLength: 10 }),
  })
  fc.assert(
    fc.property(fc.array(message, { maxLength: 5 }), messages => {
      const writer = new MessageWriter(16)
      for (const { type, flags, sequence, attributes } of messages) {
        const at = writer.beginMessage(type, flags, sequence)
        for (const { type, value } of attributes) writer.attribute(type, value)
        writer.endMessage(at)
      }
      const read = readMessages(writer.bytes()).map(({ type, flags, sequence, payload }) => ({
        type,
        flags,
        sequence,
        attributes: [...readAttributes(payload)].map(([type, value]) => ({ type, value: [...value] })),
      }))
      const expected = messages.map(({ attributes, ...rest }) => ({
        ...rest,
        attributes: attributes.map(({ type, value }) => ({ type, value: [...value] })),
      }))
      assert.equal(read, expected)
    }),
  )
})

it('refuses impossible lengths of messages and attributes, and never loops or reads outside (property)', () => {
  assert.throws(() => readMessages(buffer('0f000000 00000000 00000000 00000000')), /message: length 15/)
  assert.throws(() => readMessages(buffer('11000000 00000000 00000000 00000000')), /message: length 17/)
  assert.throws(() => readAttributes(buffer('03000100')), /attribute: length 3/)
  assert.throws(() => readAttributes(buffer('0000 0100')), /attribute: length 0/)
  assert.throws(() => readAttributes(buffer('0900 0100 00000000')), /attribute: length 9/)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
      for (const read of [readMessages, readAttributes]) {
        try {
          read(Buffer.from(bytes))
        } catch (error) {
          assert.match((error as Error).message, /^malformed netlink/)
        }
      }
    }),
  )
})

it('strings end at their NUL, or at the end', () => {
  assert.is(readString(Buffer.from('eth0\0\0')), 'eth0')
  assert.is(readString(Buffer.from('eth0')), 'eth0')
})

const errorMessage = (flags: number, payload: string): NetlinkMessage => ({
  type: NLMSG_ERROR,
  flags,
  sequence: 1,
  payload: buffer(payload),
})

const echoedHeader = '14000000 0c0a 0104 07000000 00000000' // of a request of 20 bytes
const textAttribute = '0700 0100 6e6f 00 00' // "no"

it('reads an acknowledgement, an error, and the text of an error in both of its places', () => {
  assert.equal(readError(errorMessage(0, `00000000 ${echoedHeader}`)), { errno: 0, text: '' })
  assert.equal(readError(errorMessage(0, `feffffff ${echoedHeader}`)), { errno: 2, text: '' })
  const capped = errorMessage(NLM_F_CAPPED | NLM_F_ACK_TLVS, `eaffffff ${echoedHeader} ${textAttribute}`)
  assert.equal(readError(capped), { errno: 22, text: 'no' })
  const whole = errorMessage(NLM_F_ACK_TLVS, `eaffffff ${echoedHeader} deadbeef ${textAttribute}`)
  assert.equal(readError(whole), { errno: 22, text: 'no' })
  assert.throws(() => readError(errorMessage(0, 'eaff')), /malformed netlink error/)
})

/** Element lists of a lane's messages: [message type, flags, elements]. */
const laneMessages = (lane: ElementLane): [number, number, number][] => {
  const out = new MessageWriter()
  lane.drainTo(out)
  return readMessages(out.bytes()).map(({ type, flags, payload }) => {
    const attributes = readAttributes(payload, 4)
    assert.is(readString(attributes.get(1) ?? Buffer.alloc(0)), 'table')
    assert.is(readString(attributes.get(2) ?? Buffer.alloc(0)), 'set')
    const list = attributes.get(3) ?? Buffer.alloc(0)
    let elements = 0
    for (let at = 0; at < list.length; at += list.readUInt16LE(at)) elements++
    return [type & 255, flags, elements]
  })
}

it('a lane: golden bytes of one element', () => {
  const lane = new ElementLane('t', 's')
  lane.add(Uint8Array.of(1, 2, 3, 4), Uint8Array.of(9, 8, 7, 6), 1000, false)
  const out = new MessageWriter()
  lane.drainTo(out)
  assert.is(
    out.bytes().toString('hex'),
    [
      '50000000 0c0a 0104 00000000 00000000',
      '05000000', // netdev
      '0600 0100 74000000',
      '0600 0200 73000000',
      '2c00 0380', // elements
      '2800 0180', // one of them
      '0c00 0180 0800 0100 01020304', // key
      '0c00 0280 0800 0100 09080706', // data
      '0c00 0400 00000000000003e8', // timeout, ms
    ]
      .join('')
      .replaceAll(' ', ''),
  )
  assert.is(lane.isEmpty, true)
})

it('a lane: neighbours of a kind share a message, and order is kept', () => {
  const lane = new ElementLane('table', 'set')
  const key = new Uint8Array(4)
  lane.add(key, undefined, undefined, false)
  lane.add(key, undefined, 5, false)
  lane.delete(key)
  lane.delete(key)
  lane.add(key, undefined, undefined, true)
  lane.add(key, undefined, undefined, false)
  assert.equal(laneMessages(lane), [
    [12, 0x401, 2],
    [14, 0x001, 2],
    [12, 0x601, 1],
    [12, 0x401, 1],
  ])
})

it('a lane: splits what one message cannot hold', () => {
  const lane = new ElementLane('table', 'set')
  for (let n = 0; n < 5000; n++) lane.add(new Uint8Array(20), new Uint8Array(4), 1000, false)
  const messages = laneMessages(lane)
  assert.ok(messages.length > 5)
  assert.is(
    messages.reduce((sum, [, , elements]) => sum + elements, 0),
    5000,
  )
})

it.run()
