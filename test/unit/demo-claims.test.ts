/** Each claim of the demo can be false. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type Answer,
  allAnswered,
  bypassed,
  drainedGotNone,
  everyForwarderWorked,
  followsCapacities,
  intact,
  type LogLine,
  noneFailed,
  ownConnections,
  parseAnswers,
  parseLog,
  sharesOf,
  trueClient,
  undrainedGotSome,
} from '../../scripts/demo/claims.ts'
import { underLoad } from '../../scripts/demo/load.ts'

const it = suite('demo-claims')

const answer = (host = 'h1', rest: Partial<Answer> = {}): Answer => ({
  status: 200,
  connects: 1,
  host,
  ...rest,
})
const line = (connection: string, rest: Partial<LogLine> = {}): LogLine => ({
  host: 'h1',
  client: '10.20.0.11',
  status: 200,
  path: '/',
  server: '10.99.0.1',
  connection,
  ...rest,
})

it('reads what curl and nginx write', () => {
  assert.equal(parseAnswers('200 1 h1\n000 1 \n'), [answer(), { status: 0, connects: 1, host: '' }])
  assert.equal(parseLog('h1', '10.20.0.11 200 GET / 4711 10.99.0.1 7\n'), [line('7')])
})

it('a failed or a missing answer is told', () => {
  assert.ok(allAnswered([answer(), answer()], 2).ok)
  assert.not.ok(allAnswered([answer(), answer('', { status: 0 })], 2).ok)
  const missing = allAnswered([answer()], 2)
  assert.not.ok(missing.ok)
  assert.match(missing.text, '1 failed')
  assert.not.ok(allAnswered([answer(), answer(), answer()], 2).ok)
})

it('a shared connection is told, by either end', () => {
  const two = [answer(), answer()]
  assert.ok(ownConnections(two, [line('1'), line('2')]).ok)
  assert.ok(ownConnections(two, [line('1'), line('1', { host: 'h2' })]).ok)
  assert.not.ok(ownConnections(two, [line('1'), line('1')]).ok)
  assert.not.ok(ownConnections([answer(), answer('h1', { connects: 0 })], [line('1'), line('2')]).ok)
})

it('shares are held against the capacities', () => {
  const capacities = new Map([
    ['h1', 60],
    ['h2', 30],
    ['h3', 10],
  ])
  const spread = (a: number, b: number, c: number) =>
    sharesOf(
      [...Array(a).fill(answer('h1')), ...Array(b).fill(answer('h2')), ...Array(c).fill(answer('h3'))],
      capacities,
    )
  assert.equal(
    spread(60, 30, 10).map(s => [s.wanted, s.got]),
    [
      [0.6, 0.6],
      [0.3, 0.3],
      [0.1, 0.1],
    ],
  )
  assert.ok(followsCapacities(spread(62, 29, 9), 0.05).ok)
  assert.not.ok(followsCapacities(spread(34, 33, 33), 0.05).ok)
  assert.not.ok(followsCapacities(spread(65, 35, 0), 0.2).ok, 'a host with capacity got nothing')
})

it('any other client or server address is told', () => {
  assert.ok(trueClient([line('1')], '10.20.0.11', '10.99.0.1').ok)
  assert.not.ok(trueClient([line('1'), line('2', { client: '10.10.1.11' })], '10.20.0.11', '10.99.0.1').ok)
  assert.not.ok(trueClient([line('1', { server: '10.10.0.71' })], '10.20.0.11', '10.99.0.1').ok)
  assert.not.ok(trueClient([], '10.20.0.11', '10.99.0.1').ok)
})

it('an idle forwarder is told', () => {
  const packets = (f1: number, f2: number) =>
    new Map([
      ['f1', f1],
      ['f2', f2],
    ])
  assert.ok(everyForwarderWorked(packets(6_000, 6_500), 2_500).ok)
  assert.not.ok(everyForwarderWorked(packets(12_000, 300), 2_500).ok)
})

it('responses through a forwarder are told, and so are responses of nobody', () => {
  assert.ok(bypassed(60e6, 62e6, 3e6).ok)
  assert.not.ok(bypassed(60e6, 62e6, 65e6).ok)
  assert.not.ok(bypassed(60e6, 1e6, 3e6).ok)
})

it('one damaged download is told', () => {
  assert.ok(intact(['a', 'a'], 'a', 1).ok)
  assert.not.ok(intact(['a', 'b'], 'a', 1).ok)
  assert.not.ok(intact([], 'a', 1).ok)
})

it('a drained host that gets a connection is told, and so is a failed one', () => {
  const others = [answer('h1'), answer('h3')]
  assert.ok(drainedGotNone('h2', others, 2).ok)
  assert.match(
    drainedGotNone('h2', [...others, answer('h2')], 3).text,
    'of 3 new connections the drained h2 got 1',
  )
  assert.not.ok(drainedGotNone('h2', [...others, answer('h2')], 3).ok)
  assert.not.ok(drainedGotNone('h2', [answer('h1'), answer('', { status: 0 })], 2).ok)
  assert.not.ok(drainedGotNone('h2', others, 3).ok)
})

it('an undrained host that gets nothing is told', () => {
  assert.ok(undrainedGotSome('h2', [answer('h1'), answer('h2')], 2).ok)
  assert.not.ok(undrainedGotSome('h2', [answer('h1'), answer('h3')], 2).ok)
  assert.not.ok(undrainedGotSome('h2', [answer('h2'), answer('', { status: 0 })], 2).ok)
})

it('failures meanwhile are counted, over all batches', async () => {
  const batches = [[answer(), answer()], [answer()], [answer(), answer('', { status: 0 })]]
  let asked = 0
  const { result, made, failed } = await underLoad(
    async () => {
      await new Promise(setImmediate)
      return batches[asked++] ?? [answer(), answer()]
    },
    2,
    async () => {
      while (asked < 3) await new Promise(setImmediate)
      return 'done'
    },
  )
  assert.equal([result, made, failed], ['done', asked * 2, 2])
  assert.not.ok(noneFailed('then', made, failed).ok)
  assert.ok(noneFailed('then', made, 0).ok)
  assert.not.ok(noneFailed('then', 0, 0).ok, 'nothing was tried')
})

it('the load ends with the work, also when that fails, and a load that fails is told', async () => {
  let asked = 0
  const batch = async (): Promise<Answer[]> => {
    await new Promise(setImmediate)
    asked++
    return [answer()]
  }
  const told = async (run: Promise<unknown>): Promise<string> =>
    run.then(
      () => 'nothing',
      (error: Error) => error.message,
    )
  assert.is(await told(underLoad(batch, 1, () => Promise.reject(new Error('no order')))), 'no order')
  const before = asked
  await new Promise(setImmediate)
  assert.is(asked, before)
  const broken = (): Promise<Answer[]> => Promise.reject(new Error('no curl'))
  assert.is(await told(underLoad(broken, 1, async () => {})), 'no curl')
})

it.run()
