import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { CHAIN_LINKS, MAX_LINKS, TokenChain, verifyToken } from '../../../src/health/chain.ts'

const it = suite('health token chains')
const seed = (fill: number): Uint8Array => new Uint8Array(32).fill(fill)
/** Slow and obvious. */
const before = (token: string): string =>
  createHash('sha256').update(Buffer.from(token, 'hex')).digest('hex').slice(0, 16)

it('each token is the hash of the next, down to the anchor, and the seed is in none', () => {
  const chain = new TokenChain(seed(1))
  assert.is(chain.links, CHAIN_LINKS)
  assert.is(chain.anchor, before(chain.token(1)))
  for (let i = 1; i < chain.links; i++) assert.is(chain.token(i), before(chain.token(i + 1)))
  assert.is(chain.token(chain.links), before(Buffer.from(seed(1)).toString('hex')))
  assert.is.not(new TokenChain(seed(2)).anchor, chain.anchor)
})

it('property: a token verifies by any earlier one, at its own position only', () => {
  const chain = new TokenChain(seed(3), 64)
  const at = (position: number) => ({
    position,
    token: position === 0 ? chain.anchor : chain.token(position),
  })
  fc.assert(
    fc.property(
      fc.nat(63),
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: -2, max: 66 }),
      (known, real, said) => {
        assert.is(verifyToken(at(known), chain.token(real), said), real === said && real > known)
      },
    ),
  )
})

it('tokens of another chain, and what is no token, do not verify', () => {
  const chain = new TokenChain(seed(4), 8)
  const known = { token: chain.anchor, position: 0 }
  const good = chain.token(2)
  assert.ok(verifyToken(known, good, 2))
  assert.not(verifyToken(known, new TokenChain(seed(5), 8).token(2), 2))
  for (const token of [
    '',
    good.slice(0, 14),
    `${good}00`,
    good.toUpperCase().replace(/\d/g, 'A'),
    'g'.repeat(16),
  ])
    assert.not(verifyToken(known, token, 2), token)
  for (const position of [Number.NaN, 1.5, Number.POSITIVE_INFINITY, -1])
    assert.not(verifyToken(known, good, position))
})

it('the hashes that one token costs are bounded', () => {
  const chain = new TokenChain(seed(6), MAX_LINKS)
  const top = chain.token(MAX_LINKS)
  assert.ok(verifyToken({ token: chain.anchor, position: 0 }, top, MAX_LINKS))
  // The same chain, but its anchor said to be one beat earlier: one step more than is taken.
  assert.not(verifyToken({ token: before(chain.anchor), position: -1 }, top, MAX_LINKS))
  assert.not(verifyToken({ token: chain.anchor, position: 0 }, top, 2 ** 52))
})

it('impossible chains and positions are refused', () => {
  assert.throws(() => new TokenChain(new Uint8Array(31)), /32 bytes/)
  for (const links of [0, MAX_LINKS + 1, 1.5, Number.NaN])
    assert.throws(() => new TokenChain(seed(0), links), /1 to 4096 links/)
  const chain = new TokenChain(seed(0), 4)
  for (const position of [0, 5, 1.5, Number.NaN])
    assert.throws(() => chain.token(position), /begin a new generation/)
})

it.run()
