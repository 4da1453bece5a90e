/** A host's kernel acknowledges mapping datagrams that carry no packet (bpf/learn-answer.h): what goes out is what the agent would send. */
// test-beside-others
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import {
  createMappingHeader,
  decodeMappingHeader,
  KIND,
  verifyMappingTag,
} from '../../src/agent/dataplane/mapping-header.ts'
import { XDP } from '../../src/os/bpf/program.ts'
import { missingBpf } from '../support/bpf.ts'
import { buildPacket, TCP, UDP } from '../support/dataplane-case.ts'
import { CLIENT, FAMILIES, type Family, STRANGER } from '../support/dataplane-world.ts'
import { buildFrame, ETHERTYPE } from '../support/ethernet.ts'
import { OTHER_TUNNEL, tunnelled } from '../support/host-cases.ts'
import { addressWords, FLAG, pattern } from '../support/packets.ts'
import { integers, seeded } from '../support/random.ts'
import { testIf } from '../support/skip.ts'
import { TUNNELS } from '../support/xdp-host-lab.ts'
import {
  ANSWER_KEY,
  type DatagramShape,
  datagram,
  EPOCH,
  FORWARDER,
  headerPlace,
  IDENTIFIER,
  KEY,
  WINDOW_S,
  XdpLearnLab,
} from '../support/xdp-learn-lab.ts'

const it = suite('xdp/learn-answer')
const noBpf = missingBpf()
const test = (name: string, body: () => void): void => testIf(noBpf, it, name, body)
const { index: tunnel, generation } = TUNNELS.first
let lab: XdpLearnLab

it.before(() => {
  if (noBpf === undefined) lab = new XdpLearnLab()
})
it.after(() => lab?.close())
it.before.each(() => {
  if (noBpf !== undefined) return
  lab.answerKey = ANSWER_KEY
  lab.renew()
  lab.tunnel(4)
  lab.sends(true)
  lab.forget()
})

/** Without a packet inside. */
const bare = (family: Family, shape: DatagramShape = {}): Uint8Array =>
  datagram(family, { ...shape, inner: null }).frame

/** The agent's own answer to the datagram, in a frame; the time is that of the one that was seen. */
const answerOf = (family: Family, shape: DatagramShape, late: number): Uint8Array => {
  const { tags = [], ...rest } = shape
  const answer = datagram(family, {
    ...{ ...rest, inner: null, kind: KIND.MAP_ACK, late },
    ...{ key: ANSWER_KEY.words, keyNumber: ANSWER_KEY.number },
    ...{ from: '10.51.0.1', to: FORWARDER[4] },
  }).frame
  const frame = buildFrame(answer.subarray(14), { tags })
  // Back to where it came from, with no UDP checksum.
  const came = buildFrame(new Uint8Array(0))
  frame.set(came.subarray(6, 12), 0)
  frame.set(came.subarray(0, 6), 6)
  const udp = 14 + 4 * tags.length + 20
  frame.fill(0, udp + 6, udp + 8)
  return frame
}

/** How much later than now the answer says that it is, in s; and that the agent takes it. */
const read = (family: Family, frame: Uint8Array, tags = 0): number => {
  const at = headerPlace(family).at + 4 * tags
  const header = createMappingHeader()
  assert.is(decodeMappingHeader(frame, at, frame.length - at, header), DROP.NONE)
  assert.ok(verifyMappingTag(frame, at, header, ANSWER_KEY.words))
  const late = header.timeS - Math.floor(Date.now() / 1000)
  assert.ok(Math.abs(late) <= 2, `${late} s`)
  return late
}

const SHAPES: Readonly<Record<string, DatagramShape>> = {
  TCP: {},
  UDP: { protocol: UDP },
  'a VLAN tag': { tags: [{ type: ETHERTYPE.vlan, tci: 5 }] },
  'two VLAN tags': {
    tags: [
      { type: ETHERTYPE.serviceVlan, tci: 6 },
      { type: ETHERTYPE.vlan, tci: 0xe007 },
    ],
  },
}

for (const family of FAMILIES)
  for (const [name, shape] of Object.entries(SHAPES))
    test(`IPv${family}, ${name}: sent back as the agent's own acknowledgement, byte for byte; the mapping is in force`, () => {
      const { verdict, data } = lab.run(bare(family, shape))
      assert.equal(lab.counted(), { MAPPING_ANSWERED: 1 })
      assert.is(verdict, XDP.tx)
      assert.equal(data, answerOf(family, shape, read(family, data, shape.tags?.length)))
      // The agent hears of it as of a half-open flow.
      const told = { kind: 'learnt' as const, identifier: IDENTIFIER, tunnel, generation, tcpFlags: FLAG.SYN }
      assert.equal(lab.told(), [told])
      const [learnt] = lab.learnt.some(10)
      assert.equal([learnt.client, learnt.sequence], [addressWords(CLIENT[family]), 77])
      const packet = buildPacket(family, shape.protocol ?? TCP, {
        sourcePort: 40_000,
        payload: pattern(1400),
      })
      const tags = { tags: shape.tags ?? [] }
      assert.equal(
        lab.run(buildFrame(tunnelled(packet, family, IDENTIFIER)!, tags)).data,
        buildFrame(packet, tags),
      )

      // Again, by the learnt mapping, and by the one that the agent has stored: of that it need not hear.
      assert.is(lab.run(bare(family, shape)).verdict, XDP.tx)
      assert.equal(lab.told(), [told])
      lab.mappings[family].put({ tunnel, generation, identifier: IDENTIFIER }, learnt, 0)
      lab.learnt.delete(tunnel, generation, IDENTIFIER)
      assert.is(lab.run(bare(family, shape)).verdict, XDP.tx)
      assert.equal(lab.told(), [])
      assert.equal(lab.learnt.some(10), [])
      lab.mappings[family].remove(tunnel, IDENTIFIER)
    })

/** Left to the agent: unchanged, nothing stored, nobody told. */
const refused = (frame: Uint8Array, reason: string, what: string): void => {
  lab.resetCounters()
  const before = lab.learnt.some(10)
  const { verdict, data } = lab.run(frame)
  assert.equal(lab.counted(), { [reason]: 1 }, what)
  assert.is(verdict, XDP.pass, what)
  assert.equal(data, frame, what)
  assert.equal(lab.learnt.some(10), before, what)
  assert.equal(lab.told(), [], what)
}

const REFUSALS: Readonly<Record<string, readonly [shape: DatagramShape, reason: string]>> = {
  'a tag by another key': [{ key: Uint32Array.of(1, 2, 3, 4) }, 'MAPPING_REFUSED'],
  "the answers' key": [{ key: ANSWER_KEY.words, keyNumber: ANSWER_KEY.number }, 'MAPPING_REFUSED'],
  'an unknown key': [{ keyNumber: KEY.number + 1 }, 'MAPPING_REFUSED'],
  'too old': [{ late: -WINDOW_S - 2 }, 'MAPPING_REFUSED'],
  'from the future': [{ late: WINDOW_S + 2 }, 'MAPPING_REFUSED'],
  'the epoch before': [{ epoch: EPOCH - 1 }, 'MAPPING_REFUSED'],
  'the next epoch': [{ epoch: EPOCH + 1 }, 'MAPPING_REFUSED'],
  "another forwarder's tunnel": [{ tunnel: OTHER_TUNNEL[4] }, 'MAPPING_REFUSED'],
  'another sender': [{ from: STRANGER[4] }, 'MAPPING_REFUSED'],
  'identifier 0': [{ identifier: 0 }, 'MAPPING_UNUSUAL'],
  'an unknown port of the VIP': [{ vipPort: 81 }, 'MAPPING_UNUSUAL'],
  'a service that this host does not have': [{ vipPort: 1 }, 'MAPPING_UNUSUAL'],
}

for (const family of FAMILIES)
  test(`IPv${family}: ${Object.keys(REFUSALS).length} kinds are answered by nobody here`, () => {
    lab.targets.delete(65_535)
    for (const [name, [shape, reason]] of Object.entries(REFUSALS)) refused(bare(family, shape), reason, name)
    assert.is(lab.run(bare(family)).verdict, XDP.tx, 'the control')
  })

test('where frames cannot be sent back, in frames to several, and without a key to sign by: the agent answers', () => {
  lab.sends(false)
  refused(bare(4), 'MAPPING_UNUSUAL', 'an interface that takes none')
  lab.sends(true)
  const several = bare(4)
  several[0] |= 1
  refused(several, 'MAPPING_UNUSUAL', 'to several')
  lab.answerKey = null
  lab.tunnel(4)
  refused(bare(4), 'MAPPING_UNUSUAL', 'no key')
  lab.answerKey = ANSWER_KEY
  lab.tunnel(4)
  lab.renew(-1)
  refused(bare(4), 'NOT_TUNNELLED', 'the grace is over')
  lab.renew()
  assert.is(lab.run(bare(4)).verdict, XDP.tx, 'the control')
})

test('what contradicts a mapping in force is not acknowledged, wherever that stands and whatever is newer', () => {
  lab.run(datagram(4).frame)
  lab.told()
  for (const sequence of [76, 78])
    refused(bare(4, { clientPort: 40_001, sequence }), 'MAPPING_UNUSUAL', `learnt, ${sequence}`)
  const [learnt] = lab.learnt.some(1)
  lab.mappings[4].put({ tunnel, generation, identifier: IDENTIFIER }, learnt, 0)
  lab.forget()
  for (const sequence of [76, 78])
    refused(bare(4, { clientPort: 40_001, sequence }), 'MAPPING_UNUSUAL', `stored, ${sequence}`)
  lab.mappings[4].remove(tunnel, IDENTIFIER)
})

test('after an acknowledgement nothing older is learnt of the identifier, though the mapping has gone', () => {
  lab.run(bare(4, { sequence: 77 }))
  lab.told()
  lab.learnt.delete(tunnel, generation, IDENTIFIER)
  assert.ok(lab.learn.answeredNewer(tunnel, EPOCH, IDENTIFIER, 76))
  assert.not.ok(lab.learn.answeredNewer(tunnel, EPOCH, IDENTIFIER, 77))
  assert.not.ok(lab.learn.answeredNewer(tunnel, EPOCH + 1, IDENTIFIER, 76))
  assert.not.ok(lab.learn.answeredNewer(tunnel, EPOCH, IDENTIFIER ^ 1, 76), 'of another part')
  const other = { clientPort: 40_001, sequence: 76 }
  refused(bare(4, other), 'MAPPING_UNUSUAL', 'without a packet')
  refused(datagram(4, other).frame, 'MAPPING_UNUSUAL', 'with a packet')
  assert.is(lab.run(bare(4, { ...other, sequence: 78 })).verdict, XDP.tx, 'a newer one')
  lab.learnt.delete(tunnel, generation, IDENTIFIER)
  lab.told()
  // A count that has come round.
  lab.tunnel(4, EPOCH + 1)
  lab.run(bare(4, { epoch: EPOCH + 1, sequence: 5 }))
  lab.learnt.delete(tunnel, generation, IDENTIFIER)
  lab.told()
  refused(
    bare(4, { epoch: EPOCH + 1, sequence: 0xffff_fff0 }),
    'MAPPING_UNUSUAL',
    'from before it came round',
  )
})

for (const family of FAMILIES)
  test(`IPv${family}: 30,000 with a damaged header are answered by nobody`, () => {
    const random = integers(seeded(family))
    const source = bare(family)
    const { at, bytes } = headerPlace(family)
    for (let n = 0; n < 30_000; n++) {
      const frame = source.slice()
      for (let i = random(n & 1 ? 1 : 8); i >= 0; i--) frame[at + random(bytes)] ^= 1 << random(8)
      if (frame.every((byte, i) => byte === source[i])) continue
      const { verdict, data } = lab.run(frame)
      if (verdict !== XDP.pass || Buffer.compare(data, frame) !== 0)
        assert.unreachable(`answered: ${Buffer.from(frame).toString('hex')}`)
    }
    assert.is(lab.counted().MAPPING_ANSWERED, undefined)
    assert.equal(lab.learnt.some(10), [])
    assert.equal(lab.told(), [])
  })

it.run()
