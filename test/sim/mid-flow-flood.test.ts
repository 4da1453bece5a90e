/** A flood of packets from the middle of flows that are none, in virtual time: it does not keep the hosts of true ones from being found (decision 47). */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MidFlowFlood, type Real } from '../support/mid-flow-flood.ts'

const it = suite('a flood of packets of unknown flows')
/** Ten times what hosts are asked about. */
const FORGED_A_MS = 38
const CONNECTIONS = 60
/** As TCP does. */
const REPEATS_MS = [300, 900, 2_100, 4_500]
/** Packets of a client, the first among them, until its connection goes on. */
const MOST_PACKETS = 4

/** `limits.heldPackets`: as it is by default, and so large that hosts would be asked far more than they answer. */
const PLACES = [4_096, 16_384]

const flood = async (places: number, tells: boolean): Promise<MidFlowFlood> => {
  const world = new MidFlowFlood(places, tells)
  await world.run(1_000, FORGED_A_MS)
  for (let i = 0; i < CONNECTIONS; i++)
    world.after(i * 20, () => world.connection(i, `h${1 + (i % 3)}`, REPEATS_MS))
  await world.run(3_500, FORGED_A_MS)
  return world
}

const lateOf = ({ real }: MidFlowFlood): readonly Real[] =>
  real.filter(({ foundAfter }) => foundAfter === 0 || foundAfter > MOST_PACKETS)

for (const places of PLACES)
  it(`at ten times the limit, connections that come meanwhile find their hosts within three repetitions (${places} places)`, async () => {
    const world = await flood(places, true)
    const { refused, refused_again } = world.questions.counters
    assert.ok(refused > 10_000, 'it is more than is asked about')
    assert.is(refused_again, 0)
    assert.equal(lateOf(world), [])
    const { resolution, drops } = world.t
    assert.ok(resolution.size <= (places * 5) / 8, `${resolution.size} places`)
    assert.ok(drops.length > world.forged / 2)
    for (const { counters } of world.answers) assert.is(counters.over_rate, 0, 'no host is asked too much')
  })

it('without word of which flows have come again, many do not', async () => {
  const world = await flood(16_384, false)
  assert.ok(lateOf(world).length > CONNECTIONS / 10, 'the reservation is not needed')
})

it.run()
