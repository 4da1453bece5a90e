/**
 * A client of the lab's tests: many HTTP requests, each on a connection of its own, every body checked to the byte.
 * `load-client.ts PLAN_AS_JSON` prints a LoadResult as JSON when all is done.
 */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'

/** What a connection is used for; `count` of each kind, spread evenly over the run. */
export type LoadJob =
  /** `GET /`: the body is the name of the host. */
  | { kind: 'small'; count: number }
  | { kind: 'get'; count: number; path: string; sha256: string }
  /** Random bytes to `/upload/NAME`; the result says what must be there. */
  | { kind: 'put'; count: number; bytes: number }

export interface LoadPlan {
  vip: string
  port?: number
  /** First part of the names of uploads. */
  tag?: string
  jobs: LoadJob[]
  /** Connections at once. */
  concurrency: number
  /** Where connections come from: lane i of n takes i, i + n, … in turn, so none is in use twice. */
  locals?: { address: string; port: number }[]
  /** Go through the jobs again and again for so long; SIGTERM ends it earlier. */
  forMs?: number
  /** A lane's pause between two connections. */
  gapMs?: number
  /** Uploads stop in the middle until all are there: then `half` is printed and a line on standard input awaited. */
  pauseAtHalf?: boolean
  timeoutMs?: number
}

export interface LoadRecord {
  kind: LoadJob['kind']
  /** Unix time. */
  startMs: number
  durationMs: number
  host: string
  error: string | null
}

export interface LoadResult {
  done: number
  failed: number
  /** The first few. */
  errors: string[]
  byHost: Record<string, number>
  uploads: { name: string; host: string; sha256: string }[]
  records: LoadRecord[]
  ms: number
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

/** `small small get small small put …`: the rare kinds do not all come at the end. */
const interleave = (jobs: LoadJob[]): LoadJob[] =>
  jobs
    .flatMap(job => Array.from({ length: job.count }, (_, i) => ({ job, at: (i + 0.5) / job.count })))
    .sort((a, b) => a.at - b.at)
    .map(entry => entry.job)

const main = async (plan: LoadPlan): Promise<LoadResult> => {
  const queue = interleave(plan.jobs)
  const result: LoadResult = { done: 0, failed: 0, errors: [], byHost: {}, uploads: [], records: [], ms: 0 }
  const startedMs = performance.now()
  const lanes = plan.concurrency
  const stop = new AbortController()
  const enough = stop.signal
  if (plan.forMs !== undefined) process.once('SIGTERM', () => stop.abort())
  let next = 0
  let atHalf = 0
  const input = plan.pauseAtHalf ? createInterface(process.stdin) : null
  const go = input === null ? null : once(input, 'line')

  const half = async (): Promise<void> => {
    if (++atHalf === lanes) process.stdout.write('half\n')
    await go
  }

  const put = async (
    name: string,
    bytes: Buffer,
    req: ReturnType<typeof request>,
    answered: Promise<unknown>,
  ): Promise<void> => {
    if (go === null) return void req.end(bytes)
    const early = answered.then(() => Promise.reject(new Error(`${name}: an early answer`)))
    await Promise.race([new Promise(sent => req.write(bytes.subarray(0, bytes.length >> 1), sent)), early])
    await Promise.race([half(), early])
    req.end(bytes.subarray(bytes.length >> 1))
  }

  const one = async (job: LoadJob, number: number, place: number): Promise<string> => {
    const name = `${plan.tag ?? 'load'}-${number}`
    const bytes = job.kind === 'put' ? randomBytes(job.bytes) : null
    const path = job.kind === 'small' ? '/' : job.kind === 'get' ? job.path : `/upload/${name}`
    const local = plan.locals?.[place % plan.locals.length]
    const req = request({
      host: plan.vip,
      port: plan.port ?? 80,
      path,
      method: bytes === null ? 'GET' : 'PUT',
      agent: false,
      headers: { connection: 'close', ...(bytes === null ? {} : { 'content-length': bytes.length }) },
      signal: AbortSignal.timeout(plan.timeoutMs ?? 30_000),
      ...(local === undefined ? {} : { localAddress: local.address, localPort: local.port }),
    })
    const answered = once(req, 'response') as Promise<[IncomingMessage]>
    if (bytes === null) req.end()
    else await put(name, bytes, req, answered)
    const [res] = await answered
    const closed = once(res.socket, 'close') // an address and port are free again only then
    const body = Buffer.concat(await res.toArray())
    const host = String(res.headers['x-host'])
    if (res.statusCode !== (bytes === null ? 200 : 201)) throw new Error(`${path}: status ${res.statusCode}`)
    if (job.kind === 'small' && body.toString() !== `${host}\n`)
      throw new Error(`${path}: "${body}" from ${host}`)
    if (job.kind === 'get' && sha256(body) !== job.sha256)
      throw new Error(`${path}: ${body.length} wrong bytes from ${host}`)
    if (bytes !== null) result.uploads.push({ name, host, sha256: sha256(bytes) })
    if (local !== undefined) await closed
    return host
  }

  const lane = async (number: number): Promise<void> => {
    const more = (): boolean =>
      plan.forMs === undefined
        ? next < queue.length
        : !enough.aborted && performance.now() - startedMs < plan.forMs
    for (let turn = 0; more(); turn++) {
      const at = next++
      const job = queue[at % queue.length]!
      const record: LoadRecord = {
        kind: job.kind,
        startMs: Date.now(),
        durationMs: 0,
        host: '-',
        error: null,
      }
      const began = performance.now()
      try {
        record.host = await one(job, at, number + turn * lanes)
        result.byHost[record.host] = (result.byHost[record.host] ?? 0) + 1
      } catch (error) {
        const { cause, message } = error as Error
        record.error = cause instanceof Error ? `${message}: ${cause.message}` : message
        result.failed++
        if (result.errors.length < 20) result.errors.push(record.error)
      }
      record.durationMs = performance.now() - began
      result.done++
      if (plan.forMs !== undefined) result.records.push(record)
      if (plan.gapMs !== undefined) await delay(plan.gapMs)
    }
  }

  await Promise.all(Array.from({ length: lanes }, (_, i) => lane(i)))
  input?.close()
  result.ms = Math.round(performance.now() - startedMs)
  return result
}

process.stdout.write(`${JSON.stringify(await main(JSON.parse(process.argv[2]!) as LoadPlan))}\n`)
