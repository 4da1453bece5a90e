/** The asking side of R-G7, in virtual time. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { FormerHosts } from '../../../src/agent/owners/former-hosts.ts'
import { OwnerQuestions, type Ownership } from '../../../src/agent/owners/questions.ts'

const it = suite('owner questions')
const key = (number: number): Uint32Array =>
  Uint32Array.from([0, 0, 0xffff, number, 0, 0, 0xffff, 0x0a630001, (number << 16) | 80, 6])

class World {
  nowMs = 0
  readonly sent: { host: string; id: number; keys: readonly Uint32Array[] }[] = []
  readonly unreachable = new Set<string>()
  live = ['h1', 'h2', 'h3']
  silent = 0
  readonly #timers = new Map<number, { atMs: number; run: () => void }>()
  #timer = 0
  readonly questions = new OwnerQuestions({
    nowMs: () => this.nowMs,
    later: (run, ms) => {
      const id = this.#timer++
      this.#timers.set(id, { atMs: this.nowMs + ms, run })
      return () => this.#timers.delete(id)
    },
    hosts: () => ({ live: this.live, silent: this.silent }),
    ask: (host, id, keys) => {
      if (this.unreachable.has(host)) return false
      this.sent.push({ host, id, keys })
      return true
    },
  })

  get timers(): number {
    return this.#timers.size
  }

  pass(ms: number): void {
    const endMs = this.nowMs + ms
    for (;;) {
      const next = [...this.#timers]
        .filter(([, { atMs }]) => atMs <= endMs)
        .sort((a, b) => a[1].atMs - b[1].atMs)[0]
      if (next === undefined) break
      this.#timers.delete(next[0])
      this.nowMs = Math.max(this.nowMs, next[1].atMs)
      next[1].run()
    }
    this.nowMs = endMs
  }

  answer(host: string, owned: boolean[], id = this.sent.at(-1)!.id): void {
    this.questions.answered(host, id, owned)
  }
}

/** What has come by now; null: nothing. */
const settled = async <T>(promise: Promise<T>): Promise<T | null> => {
  let value: T | null = null
  void promise.then(got => {
    value = got
  })
  for (let i = 0; i < 20; i++) await null
  return value
}
const nobody = (certain: boolean): Ownership => ({ host: null, certain })

it('the first that says mine ends the question, while others are still silent', async () => {
  const world = new World()
  const asked = world.questions.whoOwns('web', [key(1)])
  assert.is(world.sent.length, 0, 'keys of one turn go together')
  world.pass(1)
  assert.equal(
    world.sent.map(({ host }) => host),
    ['h1', 'h2', 'h3'],
  )
  world.answer('h1', [false])
  assert.is(await settled(asked), null)
  world.answer('h2', [true])
  assert.equal(await settled(asked), ['h2'])
  assert.is(world.timers, 0)
  // What comes later, also another claim, changes nothing.
  world.answer('h3', [true])
  assert.is(world.questions.counters.unasked, 1)
})

it('all say not mine: nobody has it, for certain; no word of one, and nobody knows', async () => {
  const world = new World()
  const sure = world.questions.ask('web', [key(1)])
  world.pass(1)
  for (const host of world.live) world.answer(host, [false])
  assert.equal(await settled(sure), [nobody(true)])
  const unsure = world.questions.ask('web', [key(2)])
  world.pass(1)
  for (const host of ['h1', 'h2']) world.answer(host, [false])
  world.pass(299)
  assert.is(await settled(unsure), null)
  world.pass(1)
  assert.equal(await settled(unsure), [nobody(false)])
  world.answer('h3', [true])
  assert.is(world.questions.counters.unasked, 1, 'too late')
  assert.equal([world.questions.counters.nobodys, world.questions.counters.unknown], [1, 1])
})

it('hosts that cannot be asked leave it uncertain, at once where none is left', async () => {
  const world = new World()
  world.unreachable.add('h3')
  const asked = world.questions.ask('web', [key(1)])
  world.pass(1)
  world.answer('h1', [false])
  world.questions.silent('h2', world.sent[0]!.id)
  assert.equal(await settled(asked), [nobody(false)])
  world.silent = 1
  world.unreachable.clear()
  const dead = world.questions.ask('web', [key(2)])
  world.pass(1)
  for (const host of world.live) world.answer(host, [false])
  assert.equal(await settled(dead), [nobody(false)], 'one more could have it, and is down')
  world.live = []
  world.silent = 0
  const none = world.questions.ask('web', [key(3)])
  world.pass(1)
  assert.equal(await settled(none), [nobody(true)], 'a service without hosts')
})

it('keys gather by service, at most 256 a question; each is settled by itself', async () => {
  const world = new World()
  world.live = ['h1', 'h2']
  const many = world.questions.whoOwns(
    'web',
    Array.from({ length: 300 }, (_, i) => key(i)),
  )
  const one = world.questions.whoOwns('web', [key(1000)])
  const other = world.questions.whoOwns('mail', [key(2000)])
  world.pass(1)
  assert.equal(
    world.sent.map(({ host, keys }) => `${host} ${keys.length}`),
    ['h1 256', 'h2 256', 'h1 45', 'h2 45', 'h1 1', 'h2 1'],
  )
  const [first, , second] = world.sent
  world.answer(
    'h2',
    Array.from({ length: 45 }, (_, i) => i === 44),
    second!.id,
  )
  assert.equal(await settled(one), ['h2'])
  assert.is(await settled(many), null)
  world.answer(
    'h1',
    Array.from({ length: 256 }, () => true),
    first!.id,
  )
  assert.is(await settled(many), null)
  world.answer(
    'h1',
    Array.from({ length: 45 }, () => false),
    second!.id,
  )
  assert.equal(await settled(many), [
    ...Array.from({ length: 256 }, () => 'h1'),
    ...Array.from({ length: 44 }, () => null),
  ])
  assert.is(await settled(other), null)
})

it('liars: a node that was not asked, an answer of another length, one given twice, a number that nobody uses', async () => {
  const world = new World()
  world.live = ['h1', 'h2']
  const asked = world.questions.ask('web', [key(1), key(2)])
  world.pass(1)
  world.answer('c1', [true, true])
  world.answer('h1', [true])
  world.answer('h1', [true, true, true])
  world.answer('h1', [true, true], 77)
  assert.is(await settled(asked), null)
  assert.is(world.questions.counters.unasked, 4)
  world.answer('h1', [false, true])
  world.answer('h1', [true, true])
  assert.is(world.questions.counters.unasked, 5, 'it has had its say')
  world.answer('h2', [false, true])
  assert.equal(await settled(asked), [nobody(true), { host: 'h1', certain: true }])
  assert.is(world.questions.counters.contradicted, 1)
})

it('bounded: more keys than may wait, or than a second allows, are not asked about', async () => {
  const world = new World()
  const flood = world.questions.ask(
    'web',
    Array.from({ length: 5000 }, (_, i) => key(i)),
  )
  assert.is(world.questions.counters.refused, 5000 - 3072)
  world.pass(1)
  assert.is(world.sent.length, 12 * 3)
  world.pass(200)
  await world.questions.ask('web', [key(1)])
  assert.is(world.questions.counters.refused, 5000 - 3072 + 1, 'there would be a rate for it')
  world.pass(100)
  assert.equal((await settled(flood))?.length, 5000)
  assert.is(world.timers, 0)
  world.nowMs += 1000
  const more = world.questions.ask('web', [key(1)])
  world.pass(1)
  world.answer('h1', [true])
  assert.equal(await settled(more), [{ host: 'h1', certain: true }])
})

it('a flood leaves a part for flows that have come again, and no host is asked more than it answers', async () => {
  const world = new World()
  const many = (count: number, from: number): Uint32Array[] =>
    Array.from({ length: count }, (_, i) => key(from + i))
  const again = (count: number): boolean[] => Array.from({ length: count }, () => true)
  const { counters } = world.questions
  const settle = (): void => {
    world.pass(1)
    for (const { host, id, keys } of world.sent.splice(0))
      world.answer(
        host,
        keys.map(() => false),
        id,
      )
  }
  void world.questions.ask('web', many(10_000, 0))
  assert.is(counters.keys, 3072)
  void world.questions.ask('web', many(10_000, 10_000), again(10_000))
  assert.is(counters.keys, 3072 + 1024)
  assert.is(counters.refused_again, 10_000 - 1024)
  settle()
  // For ten seconds both want more than there is.
  const before = counters.keys
  let ofAgain = 0
  for (let ms = 0; ms < 10_000; ms += 10) {
    world.pass(9)
    void world.questions.ask('web', many(400, ms))
    const asked = counters.keys
    void world.questions.ask('web', many(40, ms + 500), again(40))
    ofAgain += counters.keys - asked
    settle()
  }
  assert.ok(ofAgain > 18_000, `${ofAgain} of half the rate`)
  assert.ok(counters.keys - before <= 38_400 + 10, `${counters.keys - before} in ten seconds`)
})

it('its end settles all, with nothing known', async () => {
  const world = new World()
  const sent = world.questions.ask('web', [key(1)])
  world.pass(1)
  const gathered = world.questions.ask('web', [key(2)])
  world.questions.stop()
  assert.equal([await settled(sent), await settled(gathered)], [[nobody(false)], [nobody(false)]])
  assert.is(world.timers, 0)
})

it('hosts that were taken out of a service are still asked, as long as they are hosts', () => {
  type Config = Parameters<FormerHosts['follow']>[0]
  const config = (hosts: string[], members: string[]): Config =>
    ({
      node: { name: 'f1' },
      roles: ['forwarder'],
      peers: members.map(name => ({ name, roles: name.startsWith('h') ? ['host'] : ['classifier'] })),
      services: [{ name: 'web', hosts: hosts.map(name => ({ name })) }],
    }) as unknown as Config
  const former = new FormerHosts()
  former.follow(config(['h1', 'h2'], ['h1', 'h2', 'h3', 'c1']))
  former.follow(config(['h3', 'c1'], ['h1', 'h2', 'h3', 'c1']))
  assert.equal([...former.of('web')].sort(), ['h1', 'h2', 'h3'])
  former.follow(config(['h3'], ['h1', 'h3']))
  assert.equal([...former.of('web')].sort(), ['h1', 'h3'])
  assert.equal([...former.of('mail')], [])
  former.follow({ ...config([], ['h1', 'h3']), services: [] })
  assert.equal([...former.of('web')], [])
})

it.run()
