/** `shunt top` in a real terminal, against a control server with fixed data. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type ControlServer, startControlServer } from '../../src/control/server.ts'
import { ROOT } from '../support/cli.ts'
import { FakeView } from '../support/fake-view.ts'
import { testIf } from '../support/skip.ts'
import { missingTmux, Tmux } from '../support/tmux.ts'

const it = suite('lab/tui')
const missing = missingTmux()
const dir = mkdtempSync(join(tmpdir(), 'shunt-tui-'))
const socketPath = join(dir, 'control.sock')
const serve = (view = new FakeView()): Promise<ControlServer> =>
  startControlServer({ socketPath, view, node: 'f1', log: { error: () => undefined } })

const PROGRAM = `${process.execPath} --no-warnings ${join(ROOT, 'test/support/tui-entry.ts')}`
const TOP = `${PROGRAM} top --socket ${socketPath} --interval 200`

let server: ControlServer
const open: Tmux[] = []
const terminal = (columns?: number, rows?: number, env?: NodeJS.ProcessEnv): Tmux => {
  const tmux = new Tmux(columns, rows, env)
  open.push(tmux)
  return tmux
}
/** Starts it below a line that must be there again afterwards. */
const start = async (tmux: Tmux, command = TOP): Promise<string> => {
  tmux.type(`echo was-here; ${command}; echo "exit=$?"`)
  tmux.keys('Enter')
  return tmux.see(/NODE↑[\s\S]*\n> f1 /)
}

it.before.each(async () => {
  server = await serve()
})
it.after.each(async () => {
  for (const tmux of open.splice(0)) tmux.close()
  await server.close()
})
it.after(() => rmSync(dir, { recursive: true }))

testIf(missing, it, 'every screen by its key; the terminal is given back', async () => {
  const tmux = terminal()
  assert.not.match(await start(tmux), /was-here/)
  tmux.keys('2')
  assert.match(await tmux.see(/\[2:services\]/), /^> web +10\.99\.0\.1:80 +1\/2/m)
  tmux.keys('f')
  await tmux.see(/of web [\s\S]*\n> tcp +10\.20\.0\.5:40000/)
  tmux.keys('Escape')
  await tmux.see(/\[2:services\]/)
  tmux.keys('Tab')
  await tmux.see(/\[3:hosts\][\s\S]*\n> h1 /)
  tmux.keys('5')
  await tmux.see(/\n> 09:30:01 +error +h2/)
  tmux.keys('BTab', '?')
  await tmux.see(/\[4:flows\][\s\S]*Shift-Tab +screen before/)
  tmux.keys('Escape')
  await tmux.see(/Enter open/)
  tmux.keys('q')
  assert.match(await tmux.see(/exit=0/), /was-here[\s\S]*\nexit=0/)
  assert.not.match(tmux.screen(), /\[4:flows\]/)
})

testIf(missing, it, 'several keys in one chunk, arrows, a filter', async () => {
  const tmux = terminal()
  await start(tmux)
  tmux.type('jj')
  await tmux.see(/\n> h2 /)
  tmux.keys('Up')
  await tmux.see(/\n> h1 /)
  tmux.type('/dead')
  assert.not.match(await tmux.see(/\n> h2 [\s\S]*\n\/dead_/), /\n. h1 /)
  tmux.keys('Enter')
  await tmux.see(/filter: dead/)
  tmux.type('3jq')
  await tmux.see(/exit=0/)
})

testIf(missing, it, 'follows the size of the terminal, from tiny to wide', async () => {
  const tmux = terminal()
  await start(tmux)
  for (const [columns, rows] of [
    [160, 50],
    [60, 12],
    [30, 5],
    [120, 30],
  ] as const) {
    tmux.resize(columns, rows)
    const wanted = columns < 40 ? /^needs 40 x 8, has 30 x 5/ : /^shunt top[\s\S]*\n> f1 [\s\S]*\nEnter open/
    const lines = (await tmux.see(wanted)).replace(/\n$/, '').split('\n')
    assert.is(lines.length, rows)
    if (columns >= 60) {
      const end = /every 200ms$/
      await tmux.see(new RegExp(`^.{${columns - 25},${columns - 11}}every 200ms\n`))
      assert.match(tmux.screen().split('\n')[0]!, end)
      assert.is(tmux.screen().match(/\n> f1 /g)!.length, 1)
    }
  }
})

testIf(missing, it, 'an agent that goes away and comes back', async () => {
  const tmux = terminal()
  await start(tmux)
  await server.close()
  const away = await tmux.see(/! agent away, trying again/)
  assert.match(away, /\n> f1 /)
  server = await serve()
  await tmux.see(/! .*node h2 is dead/)
})

testIf(missing, it, 'roles: nothing runs before y; then the command, and what it said', async () => {
  const tmux = terminal(100)
  await start(tmux)
  tmux.type('jr ')
  await tmux.see(/\[x\] classifier {2}\(added\)/)
  tmux.keys('Enter')
  await tmux.see(/\$ shunt roles h1 \+classifier --socket .*\n\n {2}Run it\? y\/N/)
  tmux.keys('n')
  await tmux.see(/nothing was changed/)
  tmux.type('r \ry')
  const result = await tmux.see(/given: h1 \+classifier --socket/)
  assert.match(result, /\n {2}done; any key goes on/)
  tmux.keys('x')
  await tmux.see(/\n> h1 /)
})

testIf(missing, it, 'SIGTERM and a defect give the terminal back too', async () => {
  const killed = terminal()
  await start(killed, `sh -c 'echo $$ >${join(dir, 'pid')}; exec ${TOP}'`)
  process.kill(Number(readFileSync(join(dir, 'pid'), 'utf8')), 'SIGTERM')
  assert.match(await killed.see(/exit=130/), /was-here/)
  // Cooked mode again: what is typed is echoed.
  killed.type('echo typed')
  await killed.see(/exit=130\n. echo typed/)

  const crashed = terminal()
  await start(crashed, TOP.replace(' top ', ' crash '))
  const screen = await crashed.see(/exit=[1-9]/)
  assert.match(screen, /was-here[\s\S]*a defect of the test/)
  assert.not.match(screen, /\[1:nodes\]/)
})

testIf(missing, it, 'NO_COLOR leaves colours out, nothing else', async () => {
  const colours = new RegExp(`${String.fromCharCode(27)}\\[(?:\\d+;)*3[0-7]m`)
  const plain = terminal(80, 24, { NO_COLOR: '1' })
  const screen = await start(plain)
  assert.not.match(plain.screen(true), colours)
  const coloured = terminal()
  assert.is((await start(coloured)).split('\n')[7], screen.split('\n')[7])
  assert.match(coloured.screen(true), colours)
})

testIf(missing, it, 'a dumb terminal and no terminal are told what to use', async () => {
  for (const command of [`TERM=dumb ${TOP}`, `${TOP} | cat`]) {
    const tmux = terminal(200)
    tmux.type(`${command}; echo "end=$?"`)
    tmux.keys('Enter')
    assert.match(await tmux.see(/\nend=\d/), /\nerror: .* needs a terminal .*use shunt status --watch/)
  }
})

it.run()
