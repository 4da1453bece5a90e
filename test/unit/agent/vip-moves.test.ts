/** Moves of virtual IPs in sentences: the winner, the loser and those who look on tell the same, each of its own side. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type HolderState, Moves } from '../../../src/agent/ownership/moves.ts'
import type { Claim } from '../../../src/ownership/types.ts'

const it = suite('agent/vip-moves')

const VIP = '10.99.0.1'
let generation = 0
const claim = (holder: string, change: Partial<Claim> = {}): Claim => ({
  ...{ vip: VIP, generation: ++generation, holder, ordered: false, death: false, support: 3 },
  ...change,
})
/** What f1 (holder), f2 (taker) and f3 tell of one move. */
const told = (
  next: Claim,
  state: HolderState = 'alive',
  before: readonly Claim[] = [claim('f1')],
): string[] =>
  ['f1', 'f2', 'f3'].map(self => {
    const moves = new Moves(self, () => state)
    for (const each of before) moves.see(each)
    const move = moves.see(next)
    assert.is(moves.see(next), null)
    return move === null ? '-' : `${move.kind} ${move.severity}: ${move.text}`
  })
const all = (severity: string, why: string, whyOfLoser = why): string[] => [
  `vip.released ${severity}: f1 no longer holds ${VIP}; f2 does: ${whyOfLoser}`,
  `vip.held ${severity}: f2 holds ${VIP}, f1 did before: ${why}`,
  `vip.moved ${severity}: f2 holds ${VIP}, f1 did before: ${why}`,
]

it('why it moved; a warning where nobody meant it to', () => {
  assert.equal(told(claim('f2', { ordered: true })), all('info', 'by order'))
  assert.equal(told(claim('f2')), all('info', 'to even out shares'))
  assert.equal(
    told(claim('f2', { death: true }), 'silent'),
    all('warning', 'the machine of f1 is dead', 'the machine of f1 seemed dead to f2'),
  )
  assert.equal(told(claim('f2'), 'silent'), all('warning', 'the agent of f1 is not heard'))
  assert.equal(told(claim('f2'), 'leaving'), all('warning', 'f1 leaves'))
  assert.equal(told(claim('f2'), 'none'), all('warning', 'f1 is no forwarder any more'))
})

it('what comes back to whom it was taken from, as dead, was never away', () => {
  const before = [claim('f2'), claim('f1', { death: true })]
  const why = 'f2 had it all the while, and they were parted'
  assert.equal(told(claim('f2'), 'alive', before), all('warning', why))
})

it('nobody holds it, and somebody again', () => {
  const gone = claim('')
  const [own, ...others] = told(gone)
  assert.is(own, `vip.released warning: f1 no longer holds ${VIP}; nobody knows yet who does`)
  for (const other of others)
    assert.is(other, `vip.moved warning: nobody holds ${VIP} now: f1, which did, ended or stood still`)
  assert.equal(told(claim('f2'), 'alive', [gone]), [
    `vip.moved info: f2 holds ${VIP}; nobody did before`,
    `vip.held info: f2 holds ${VIP}; nobody did before`,
    `vip.moved info: f2 holds ${VIP}; nobody did before`,
  ])
})

it('at first only the holder tells; later what is ordered of it, too', () => {
  assert.equal(told(claim('f2'), 'alive', []), ['-', `vip.held info: f2 holds ${VIP}`, '-'])
  const mine = [claim('f2')]
  assert.is(
    told(claim('f2', { ordered: true }), 'alive', mine)[2],
    `vip.moved info: f2 keeps ${VIP}, by order`,
  )
  assert.is(told(claim('f2'), 'alive', mine)[1], '-')
  const ordered = [claim('f2', { ordered: true })]
  assert.is(told(claim('f2'), 'alive', ordered)[1], `vip.held info: no order keeps ${VIP} at f2 any more`)
})

it('a virtual IP that is none any more is forgotten', () => {
  const moves = new Moves('f1', () => 'alive')
  moves.see(claim('f2'))
  moves.keep([])
  assert.is(moves.see(claim('f3')), null)
})

it.run()
