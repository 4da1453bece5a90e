/**
 * A process that makes one new HTTP connection after the other: `steady-requests.ts URL EVERY_MS`. Each answer or
 * failure is a line of JSON. It ends when its standard input does.
 */
import { request } from 'node:http'

const [url, every] = process.argv.slice(2)
const TIMEOUT_MS = 15_000
let waiting = 0
let over = false

const say = (line: object): void => {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

const one = (): void => {
  const startMs = performance.now()
  waiting++
  const done = (result: object): void => {
    waiting--
    say({ ms: Math.round(performance.now() - startMs), ...result })
    if (over && waiting === 0) process.exit(0)
  }
  const req = request(url!, { agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) }, res => {
    let body = ''
    res.setEncoding('utf8').on('data', chunk => {
      body += chunk
    })
    res.on('error', error => done({ error: String(error) }))
    res.on('end', () => done({ status: res.statusCode, body }))
  })
  req.on('error', error => done({ error: String(error) }))
  req.end()
}

const timer = setInterval(one, Number(every))
process.stdin.resume().on('end', () => {
  over = true
  clearInterval(timer)
  if (waiting === 0) process.exit(0)
})
