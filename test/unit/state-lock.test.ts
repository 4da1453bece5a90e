import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { lockState } from '../../src/agent/state-lock.ts'
import type { ShuntError } from '../../src/errors.ts'

const it = suite('state lock')
const dir = mkdtempSync(join(tmpdir(), 'shunt-lock-'))
it.after(() => rmSync(dir, { recursive: true }))

it('one holder at a time; the next has it once the first has let go, and waits a moment for that', async () => {
  const free = await lockState(dir)
  try {
    await lockState(dir, 0)
    assert.unreachable()
  } catch (error) {
    assert.is((error as ShuntError).code, 'SHUNT_ERR_OS')
  }
  const other = await lockState(join(dir, 'of-another-node'), 0)
  other()
  const next = lockState(dir, 60_000)
  free()
  ;(await next)()
})

it.run()
