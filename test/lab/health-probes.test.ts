/** Probes of a host's own endpoints against a real nginx and real commands, in a namespace of its own (R-B2). */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { HealthProbes } from '../../src/agent/health/probes.ts'
import { health } from '../../src/config/health-fields.ts'
import type { CheckTarget } from '../../src/health/probe/target.ts'
import type { Health } from '../../src/health/types.ts'
import { enterNetns, enterNetnsPath, ipBatch } from '../../src/os/netns.ts'
import { makeNetns, removeNetns } from '../support/netns.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('lab/health-probes')
const missing =
  missingRoot() ??
  ['nginx', 'openssl', 'nft']
    .map(tool => (spawnSync('which', [tool]).status === 0 ? '' : `needs ${tool}`))
    .find(Boolean)
const lab = (name: string, run: () => Promise<void> | void): void => testIf(missing, it, name, run)

const VIP = '10.99.0.1'
const PATIENCE_MS = 15_000
/** Long enough that only what hangs takes it, on a busy machine too. */
const TIMEOUT_MS = 1_500
const dir = mkdtempSync(join(tmpdir(), 'shunt-probes-'))
const home = openSync('/proc/thread-self/ns/net', 'r')
let nginx: ChildProcess | undefined

const CONFIG = `daemon off;
master_process off;
error_log stderr crit;
pid ${dir}/nginx.pid;
events {}
http {
  access_log off;
  root ${dir}/www;
  client_body_temp_path ${dir}/t1; proxy_temp_path ${dir}/t2; fastcgi_temp_path ${dir}/t3;
  uwsgi_temp_path ${dir}/t4; scgi_temp_path ${dir}/t5;
  server {
    listen ${VIP}:80;
    location = / { return 200 "all is ready"; }
    location = /host { return 200 "host=$http_host agent=$http_user_agent"; }
    location = /busy { return 503; }
    location = /moved { return 302 http://10.99.0.9/; }
    location = /slow { limit_rate 2000; try_files /large =404; }
  }
  server {
    listen ${VIP}:443 ssl;
    ssl_certificate ${dir}/cert.pem;
    ssl_certificate_key ${dir}/key.pem;
    location = / { return 200 "sni=$ssl_server_name"; }
  }
}
`

/** @returns when nginx listens */
const startNginx = async (): Promise<void> => {
  const child = spawn('nginx', ['-e', 'stderr', '-p', dir, '-c', join(dir, 'nginx.conf')], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  nginx = child
  const deadlineMs = performance.now() + PATIENCE_MS
  while (!readFileSync('/proc/thread-self/net/tcp', 'utf8').includes(':01BB 00000000:0000 0A')) {
    assert.is(child.exitCode, null, 'nginx ended')
    assert.ok(performance.now() < deadlineMs, 'nginx does not listen')
    await delay(10)
  }
}

const stopNginx = async (): Promise<void> => {
  const child = nginx
  nginx = undefined
  if (child === undefined || child.exitCode !== null) return
  const ended = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

it.before(async () => {
  if (missing !== undefined) return
  const netns = await makeNetns()
  await ipBatch(netns.name, ['link set lo up', `address add ${VIP}/32 dev lo`])
  for (const sub of ['www', 'pids']) mkdirSync(join(dir, sub))
  writeFileSync(join(dir, 'nginx.conf'), CONFIG)
  writeFileSync(join(dir, 'www/early'), `ready ${'x'.repeat(5_000_000)}`)
  writeFileSync(join(dir, 'www/late'), `${'x'.repeat(65_536)} ready`)
  writeFileSync(join(dir, 'www/large'), 'x'.repeat(100_000))
  writeFileSync(join(dir, 'www/evil'), `${'a'.repeat(60_000)}b`)
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'].concat([
      '-subj',
      '/CN=somebody.else',
      '-keyout',
      join(dir, 'key.pem'),
      '-out',
      join(dir, 'cert.pem'),
    ]),
    { stdio: 'ignore' },
  )
  enterNetns(netns.name)
  await startNginx()
})

it.after(async () => {
  await stopNginx()
  enterNetnsPath(`/proc/self/fd/${home}`)
  await removeNetns()
  rmSync(dir, { recursive: true, force: true })
})

const target = (check: Partial<CheckTarget['check']>, port = 80, address = VIP): CheckTarget => ({
  key: 'web',
  service: 'web',
  address,
  port,
  check: { ...health.parse({ interval: 100, timeout: TIMEOUT_MS }), ...check },
})

/** Probes one target while `use` runs, which may wait for verdicts. */
const watching = async (
  what: CheckTarget,
  use: (until: (health: Health) => Promise<string>, probes: HealthProbes) => Promise<void>,
): Promise<void> => {
  const told: { health: Health; why: string }[] = []
  let wake = (): void => {}
  const probes = new HealthProbes({
    onVerdict: (_, health, why) => {
      told.push({ health, why })
      wake()
    },
  })
  /** The next verdict must be this one. @returns why */
  const until = async (wanted: Health): Promise<string> => {
    const deadlineMs = performance.now() + PATIENCE_MS
    while (told.length === 0) {
      const leftMs = deadlineMs - performance.now()
      if (leftMs <= 0) throw new Error(`never ${wanted}: ${JSON.stringify(probes.status())}`)
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, leftMs)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    const { health, why } = told.shift()!
    assert.is(health, wanted, why)
    return why
  }
  try {
    probes.targets([what])
    await use(until, probes)
  } finally {
    probes.stop()
  }
}

const verdict = async (what: CheckTarget, wanted: Health): Promise<string> => {
  let why = ''
  await watching(what, async until => {
    why = await until(wanted)
  })
  return why
}

/** A server of few words in this process. */
const withServer = async (
  port: number,
  onConnection: (socket: Socket) => void,
  use: () => Promise<void>,
): Promise<void> => {
  const sockets = new Set<Socket>()
  const server: Server = createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    onConnection(socket)
  })
  await new Promise<void>(resolve => server.listen(port, VIP, resolve))
  try {
    await use()
  } finally {
    for (const socket of sockets) socket.destroy()
    await new Promise(resolve => server.close(resolve))
  }
}

lab('tcp: connects or not', async () => {
  assert.is(await verdict(target({ type: 'tcp' }), 'healthy'), 'connected')
  assert.is(await verdict(target({ type: 'tcp' }, 81), 'failing'), 'connection refused')
  assert.is(await verdict(target({ type: 'tcp', port: 81 }), 'failing'), 'connection refused')
  assert.is(await verdict(target({ type: 'tcp', port: 443 }, 81), 'healthy'), 'connected')
})

lab('tcp: what takes no connection fails after the timeout', async () => {
  execFileSync('nft', [
    `add table ip t; add chain ip t i { type filter hook input priority 0; }; add rule ip t i tcp dport 9 drop`,
  ])
  assert.is(await verdict(target({ type: 'tcp', timeout: 200 }, 9), 'failing'), 'no connection within 200 ms')
  assert.is(
    await verdict(target({ type: 'http', timeout: 200 }, 9), 'failing'),
    'no connection within 200 ms',
  )
})

lab('a virtual IP that is not of this machine is never asked elsewhere', async () => {
  const why = 'the address is not one of this machine'
  for (const type of ['tcp', 'http', 'https'] as const)
    assert.is(await verdict(target({ type }, 80, '10.99.0.2'), 'failing'), why)
})

lab('http: statuses', async () => {
  assert.is(await verdict(target({ type: 'http' }), 'healthy'), 'status 200')
  assert.is(await verdict(target({ type: 'http', path: '/busy' }), 'failing'), 'status 503')
  assert.is(await verdict(target({ type: 'http', path: '/busy', status: [503] }), 'healthy'), 'status 503')
  assert.is(await verdict(target({ type: 'http', path: '/moved' }), 'healthy'), 'status 302')
  assert.is(await verdict(target({ type: 'http', path: '/moved', status: 200 }), 'failing'), 'status 302')
  assert.is(await verdict(target({ type: 'http', path: '/none' }), 'failing'), 'status 404')
})

lab('http: bodies, of which the first 64 kB count', async () => {
  const http = (path: string, body: string) => target({ type: 'http', path, body })
  assert.is(await verdict(http('/', 'ready'), 'healthy'), 'status 200, body fits')
  assert.is(await verdict(http('/', 'Ready'), 'failing'), 'status 200, but its body does not fit')
  assert.is(await verdict(http('/', '/^ALL .* ready$/i'), 'healthy'), 'status 200, body fits')
  assert.is(await verdict(http('/early', 'ready'), 'healthy'), 'status 200, body fits')
  assert.is(await verdict(http('/late', 'ready'), 'failing'), 'status 200, but its body does not fit')
  assert.match(await verdict(http('/evil', '/^(a+)+$/'), 'failing'), /takes too long/)
  const slow = target({ type: 'http', path: '/slow', body: 'y', timeout: 300 })
  assert.is(await verdict(slow, 'failing'), 'status 200, but no whole body within 300 ms')
})

lab('http: who asks, and for whom', async () => {
  const asks = (body: string, host?: string) =>
    target({ type: 'http', path: '/host', body, ...(host === undefined ? {} : { host }) })
  assert.is(await verdict(asks(`host=${VIP} agent=shunt-probe`), 'healthy'), 'status 200, body fits')
  assert.is(await verdict(asks('host=web.example:81 ', 'web.example:81'), 'healthy'), 'status 200, body fits')
})

lab('https: a certificate of another name is no matter, the name is told', async () => {
  const https = (check: Partial<CheckTarget['check']>) => target({ type: 'https', ...check }, 443)
  assert.is(await verdict(https({}), 'healthy'), 'status 200')
  const named = https({ host: 'web.example:443', body: 'sni=web.example' })
  assert.is(await verdict(named, 'healthy'), 'status 200, body fits')
  assert.is(await verdict(target({ type: 'http' }, 443), 'failing'), 'status 400')
  assert.match(await verdict(target({ type: 'https' }, 80), 'failing'), /SSL|EPROTO|TLS|ssl/)
})

lab('http: answers that are none', async () => {
  const answer = (text: string) => (socket: Socket) => void socket.end(text)
  await withServer(7001, answer(`HTTP/1.1 200 OK\r\nx: ${'x'.repeat(100_000)}\r\n\r\n`), async () => {
    assert.is(
      await verdict(target({ type: 'http' }, 7001), 'failing'),
      'the header of the answer is too large',
    )
  })
  await withServer(7002, answer('SSH-2.0-x\r\n'), async () => {
    assert.match(await verdict(target({ type: 'http' }, 7002), 'failing'), /Parse Error/)
  })
  await withServer(7003, answer(''), async () => {
    assert.is(await verdict(target({ type: 'http' }, 7003), 'failing'), 'connection reset')
  })
  const switching = 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'
  await withServer(7004, answer(switching), async () => {
    assert.is(await verdict(target({ type: 'http' }, 7004), 'failing'), 'closed without an answer')
  })
  const endless = (socket: Socket): void => {
    socket.write('HTTP/1.1 200 OK\r\n\r\n')
    const more = (): void => {
      while (!socket.destroyed && socket.write('x'.repeat(16_384)));
    }
    socket.on('drain', more)
    more()
  }
  await withServer(7005, endless, async () => {
    assert.is(await verdict(target({ type: 'http' }, 7005), 'healthy'), 'status 200')
    const why = await verdict(target({ type: 'http', body: 'y' }, 7005), 'failing')
    assert.is(why, 'status 200, but its body does not fit')
  })
})

lab('a server that hangs, goes on, dies and comes back', async () => {
  await watching(target({ type: 'http', timeout: 500 }), async until => {
    assert.is(await until('healthy'), 'status 200')
    nginx!.kill('SIGSTOP')
    assert.is(await until('failing'), 'connected, but no answer within 500 ms')
    nginx!.kill('SIGCONT')
    assert.is(await until('healthy'), 'status 200')
    await stopNginx()
    assert.match(await until('failing'), /^connection (refused|reset)$/)
    await startNginx()
    assert.is(await until('healthy'), 'status 200')
  })
})

const shell = (script: string, timeout = TIMEOUT_MS): CheckTarget =>
  target({ type: 'exec', command: ['/bin/sh', '-c', script], timeout })
const gone = async (pidFile: string): Promise<void> => {
  const deadlineMs = performance.now() + PATIENCE_MS
  const pid = readFileSync(join(dir, pidFile), 'utf8').trim()
  // A zombie has ended: whoever adopts it here need not collect it.
  const runs = (): boolean => {
    try {
      return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return false
    }
  }
  while (runs()) {
    assert.ok(performance.now() < deadlineMs, `process ${pid} of ${pidFile} still runs`)
    await delay(10)
  }
}

lab('exec: the exit status counts; what it says is told, made harmless', async () => {
  assert.is(await verdict(shell('exit 0'), 'healthy'), 'exit status 0')
  assert.is(await verdict(shell('echo no disk >&2; exit 3'), 'failing'), 'exit status 3: no disk')
  assert.is(await verdict(shell("printf '\\033[2Jhi'"), 'healthy'), 'exit status 0: ?[2Jhi')
  assert.is(await verdict(shell('kill -TERM $$'), 'failing'), 'killed by SIGTERM')
  const about = 'test "$SHUNT_SERVICE $SHUNT_VIP $SHUNT_PORT" = "web 10.99.0.1 80"'
  assert.is(await verdict(shell(about), 'healthy'), 'exit status 0')
  const loud = 'head -c 5000000 /dev/zero | tr "\\0" y'
  assert.is(await verdict(shell(loud), 'healthy'), `exit status 0: ${'y'.repeat(160)}`)
  const absent = target({ type: 'exec', command: ['/nowhere/check'] })
  assert.is(await verdict(absent, 'failing'), 'cannot run /nowhere/check: no such program')
})

lab('exec: nothing of a command outlives its probe', async () => {
  const children = (name: string): string => `sleep 1000 & echo $! > ${dir}/pids/${name};`
  const hanging = shell(`${children('hang')} wait`, 1_000)
  assert.is(await verdict(hanging, 'failing'), 'the command did not end within 1000 ms')
  await gone('pids/hang')
  assert.is(await verdict(shell(`${children('left')} exit 0`), 'healthy'), 'exit status 0')
  await gone('pids/left')
  await watching(shell(`${children('stop')} wait`, 60_000), async () => {
    const deadlineMs = performance.now() + PATIENCE_MS
    const written = (): boolean =>
      existsSync(join(dir, 'pids/stop')) && readFileSync(join(dir, 'pids/stop'), 'utf8').endsWith('\n')
    while (!written()) {
      assert.ok(performance.now() < deadlineMs)
      await delay(10)
    }
  })
  await gone('pids/stop')
})

lab('exec: who escapes from the group does not hold up the result', async () => {
  const escaped = `setsid sleep 1000 & echo $! > ${dir}/pids/escaped; exit 0`
  // Its output stays open; the exit status is there when the time is over.
  const once = shell(escaped, 2_000)
  assert.is(
    await verdict({ ...once, check: { ...once.check, interval: 3_600_000 } }, 'healthy'),
    'exit status 0',
  )
  process.kill(Number(readFileSync(join(dir, 'pids/escaped'), 'utf8')), 'SIGKILL')
})

lab('many that hang are probed sixteen at a time, and leave no connections', async () => {
  let open = 0
  let most = 0
  let accepted = 0
  const hang = (socket: Socket): void => {
    accepted++
    most = Math.max(most, ++open)
    socket.on('close', () => open--).resume()
  }
  await withServer(7006, hang, async () => {
    let failing = 0
    let wake = (): void => {}
    const probes = new HealthProbes({
      onVerdict: (_, health) => {
        assert.is(health, 'failing')
        if (++failing === 40) wake()
      },
    })
    const all = Array.from({ length: 40 }, (_, i) => ({
      ...target({ type: 'http', timeout: 100 }, 7006),
      key: `web${i}`,
    }))
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`only ${failing} were found failing`)), PATIENCE_MS)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
      probes.targets(all)
    })
    probes.stop()
    assert.ok(accepted >= 80, `${accepted} probes`)
    // One that was closed may be seen by the server only after its successor came.
    assert.ok(most <= 32, `${most} at once`)
    const deadlineMs = performance.now() + PATIENCE_MS
    while (open > 0) {
      assert.ok(performance.now() < deadlineMs, `${open} connections are left`)
      await delay(10)
    }
  })
})

it.run()
