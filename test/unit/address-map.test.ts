import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { AddressMap } from '../../src/agent/dataplane/address-map.ts'
import { formatAddress } from '../../src/agent/dataplane/flow-key.ts'
import { addressWords } from '../support/packets.ts'
import { integers, runSeeds, seeded } from '../support/random.ts'

const it = suite('address-map')

it('is like a map by text, whatever collides', () => {
  for (const seed of runSeeds()) {
    const random = integers(seeded(seed))
    const map = new AddressMap<number>()
    const twin = new Map<string, number>()
    const words = new Uint32Array(6)
    for (let i = 0; i < 2000; i++) {
      // Few values a word, such that many addresses have one hash.
      for (let j = 0; j < 6; j++) words[j] = [0, 1, 31, 0xffff, 0xffffffff][random(5)]!
      const key = words.slice(1, 5).join()
      switch (random(3)) {
        case 0:
          map.set(words, 1, i)
          twin.set(key, i)
          break
        case 1:
          assert.is(map.delete(words, 1), twin.delete(key))
          break
        default:
          assert.is(map.get(words, 1), twin.get(key))
      }
    }
    const entries = [...map.entries()].map(([address, value]) => [address.join(), value])
    assert.equal(entries.toSorted(), [...twin].toSorted())
  }
})

it('keeps a copy of its keys, and tells families apart', () => {
  const map = new AddressMap<string>()
  const words = addressWords('10.0.0.1')
  map.set(words, 0, 'four')
  words.set(addressWords('::10.0.0.1'))
  assert.is(map.get(words), undefined)
  map.set(words, 0, 'six')
  assert.equal([...map.entries()].map(([address]) => formatAddress(address, 0)).length, 2)
  assert.is(map.get(addressWords('10.0.0.1')), 'four')
})

it.run()
