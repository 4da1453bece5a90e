/** Watching: what is said when the agent goes away, and what ends it. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EXIT } from '../../../src/cli/exit-codes.ts'
import { watchUntilStopped } from '../../../src/cli/watching.ts'

const it = suite('cli/watching')
const write = process.stderr.write
let said: string[]

it.before.each(() => {
  said = []
  process.stderr.write = (text: string | Uint8Array): boolean => said.push(String(text)) > 0
})
it.after.each(() => {
  process.stderr.write = write
  process.exitCode = undefined
})

/** Each look answers (`true`), fails, or is Ctrl-C. */
const looks = (answers: (boolean | 'stop')[]) => {
  const left = [...answers]
  return (_signal: AbortSignal, heard: () => void): Promise<void> => {
    const next = left.shift()
    if (next === 'stop') process.emit('SIGINT')
    else if (next === true) heard()
    else return Promise.reject(new Error('gone'))
    return Promise.resolve()
  }
}

it('says once that the agent is away, and again only after it was heard', async () => {
  const look = looks([true, false, false, true, false, 'stop'])
  await watchUntilStopped({ everyMs: 1, look, mayReturn: () => true })
  assert.is(said.filter(text => text.includes('gone (still watching)')).length, 2, said.join(''))
  assert.match(said.at(-1)!, 'stopped watching; the agent goes on')
  assert.is(process.exitCode, EXIT.INTERRUPTED)
  assert.is(process.listenerCount('SIGINT'), 0)
})

it('fails at once when the agent may not return', async () => {
  let failed = ''
  await watchUntilStopped({ everyMs: 1, look: looks([true, false]), mayReturn: () => false }).catch(error => {
    failed = error.message
  })
  assert.is(failed, 'gone')
  assert.equal([said, process.exitCode, process.listenerCount('SIGINT')], [[], undefined, 0])
})

it.run()
