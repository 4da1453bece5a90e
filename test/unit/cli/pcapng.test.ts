import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { captureLine } from '../../../src/cli/capture-line.ts'
import { PcapngWriter } from '../../../src/cli/pcapng.ts'
import type { CapturedPacket } from '../../../src/control/types.ts'
import { buildPacket, TCP } from '../../support/dataplane-case.ts'
import { buildFrame } from '../../support/ethernet.ts'
import { testIf } from '../../support/skip.ts'

const it = suite('cli/pcapng')

const FRAME = buildFrame(
  buildPacket(4, TCP, { source: '203.0.113.5', sourcePort: 40_000, payload: new Uint8Array(10) }),
)
const packet = (change: Partial<CapturedPacket> = {}): CapturedPacket => ({
  timeUs: 1_772_443_800_123_456,
  interface: 'eth0',
  length: FRAME.length,
  verdict: null,
  reason: null,
  data: Buffer.from(FRAME).toString('base64'),
  ...change,
})

interface Block {
  type: number
  body: Buffer
}
/** Another reader than the writer: by the lengths at both ends of each block. */
const blocksOf = (bytes: Buffer): Block[] => {
  const blocks: Block[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at + 4)
    assert.is(length % 4, 0)
    assert.is(bytes.readUInt32LE(at + length - 4), length, 'the length again')
    blocks.push({ type: bytes.readUInt32LE(at), body: bytes.subarray(at + 8, at + length - 4) })
    at += length
  }
  return blocks
}

it('golden bytes: a section, an interface once, a packet with its comment, the statistics', () => {
  const writer = new PcapngWriter(256)
  const bytes = Buffer.concat([
    writer.begin('shunt'),
    writer.packet(packet({ data: 'AQIDBAU=', length: 60, verdict: 'dropped', reason: 'not a service' })),
    writer.packet(packet({ data: 'AQ==', length: 1 })),
    writer.end(7, 2 ** 32 + 5),
  ])
  const hex = (block: Block): string => `${block.type.toString(16)} ${block.body.toString('hex')}`
  assert.equal(blocksOf(bytes).map(hex), [
    `a0d0d0a 4d3c2b1a01000000ffffffffffffffff0400050073${'68756e74'}00000000000000`,
    '1 0100000000010000020004006574683000000000',
    '6 00000000074c06004038173b050000003c000000' +
      '0102030405000000' +
      '01001a007864702064726f707065643a206e6f742061207365727669636500000000' +
      '0000',
    '6 00000000074c06004038173b010000000100000001000000',
    '5 000000000100000005000000050008000700000000000000' + '00000000',
  ])
  const { body } = blocksOf(bytes)[2]!
  const timeUs = body.readUInt32LE(4) * 2 ** 32 + body.readUInt32LE(8)
  assert.equal([timeUs, body.readUInt32LE(12), body.readUInt32LE(16)], [1_772_443_800_123_456, 5, 60])
  assert.is(body.subarray(20, 28).toString('hex'), '0102030405000000')
  const comment = body.subarray(28)
  assert.equal([comment.readUInt16LE(0), comment.readUInt16LE(2)], [1, 26])
  assert.is(comment.subarray(4, 30).toString(), 'xdp dropped: not a service')
})

it('any packets, names and reasons: blocks stay whole, and no more than the snap length is written', () => {
  const strange = fc.record({
    timeUs: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    interface: fc.string({ maxLength: 400 }),
    length: fc.nat(70_000),
    verdict: fc.constantFrom('passed' as const, 'redirected' as const, null),
    reason: fc.option(fc.string({ maxLength: 400 })),
    data: fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes).toString('base64')),
  })
  fc.assert(
    fc.property(fc.array(strange, { maxLength: 20 }), packets => {
      const writer = new PcapngWriter(64)
      const all = Buffer.concat([
        writer.begin('x'),
        ...packets.map(one => writer.packet(one)),
        writer.end(1, 1),
      ])
      const blocks = blocksOf(all)
      const written = blocks.filter(({ type }) => type === 6)
      assert.is(written.length, packets.length)
      assert.is(
        blocks.filter(({ type }) => type === 1).length,
        Math.max(1, new Set(packets.map(p => p.interface)).size),
      )
      for (const { body } of written) assert.ok(body.readUInt32LE(12) <= 64)
    }),
  )
})

it('nothing captured: a file that is whole all the same', () => {
  const writer = new PcapngWriter(64)
  const blocks = blocksOf(Buffer.concat([writer.begin('x'), writer.end(3, 1)]))
  assert.equal(
    blocks.map(({ type }) => type),
    [0x0a0d0d0a, 1, 5],
    'with an interface: tcpdump refuses a file that has none',
  )
})

const tcpdump = spawnSync('tcpdump', ['--version']).status === 0
testIf(tcpdump ? undefined : 'tcpdump is not installed', it, 'tcpdump reads it', () => {
  const dir = mkdtempSync(join(tmpdir(), 'shunt-pcapng-'))
  try {
    const writer = new PcapngWriter(256)
    const file = join(dir, 'a.pcapng')
    const packets = [packet(), packet({ interface: 'eth1', verdict: 'redirected', reason: 'redirected' })]
    writeFileSync(
      file,
      Buffer.concat([writer.begin('shunt'), ...packets.map(one => writer.packet(one)), writer.end(0, 1)]),
    )
    const { stdout, stderr } = spawnSync('tcpdump', ['-nn', '-tt', '-r', file], { encoding: 'utf8' })
    assert.equal(stdout.match(/^1772443800\.123456 .*203\.0\.113\.5\.40000 > /gm)?.length, 2, stdout + stderr)
  } finally {
    rmSync(dir, { recursive: true })
  }
})

it('a line a packet; whatever its bytes are', () => {
  const line = captureLine(packet({ verdict: 'sent back', reason: 'sent back' }))
  assert.match(
    line,
    /^09:30:00\.123456 eth0 tcp 203\.0\.113\.5:40000 > [\d.]+:\d+ \[.*\] \d+ bytes \(xdp sent back\)$/,
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), bytes => {
      const text = captureLine(packet({ data: Buffer.from(bytes).toString('base64') }))
      return !/\n|undefined|NaN/.test(text)
    }),
  )
  // Every truncation of a whole one.
  for (let n = 0; n <= FRAME.length; n++)
    assert.not.match(
      captureLine(packet({ data: Buffer.from(FRAME.subarray(0, n)).toString('base64') })),
      /undefined|NaN/,
    )
})

it.run()
