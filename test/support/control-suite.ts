/** A control server over a FakeView, fresh for each test of a suite. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, type Test } from 'uvu'
import { startControlServer } from '../../src/control/server.ts'
import { FakeView } from './fake-view.ts'

export interface ControlContext {
  dir: string
  socket: string
  view: FakeView
  logged: string[]
  close(): Promise<void>
}

export const controlSuite = (name: string): Test<ControlContext> => {
  const it = suite<ControlContext>(name)
  it.before.each(async ctx => {
    ctx.dir = mkdtempSync(join(tmpdir(), 'shunt-control-'))
    ctx.socket = join(ctx.dir, 'control.sock')
    ctx.view = new FakeView()
    ctx.logged = []
    const log = { error: (_: object, message: string) => void ctx.logged.push(message) }
    const server = await startControlServer({ socketPath: ctx.socket, view: ctx.view, node: 'f1', log })
    ctx.close = server.close
  })
  it.after.each(async ctx => {
    await ctx.close()
    rmSync(ctx.dir, { recursive: true })
  })
  return it
}
