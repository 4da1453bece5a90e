/** Health checks, choice and slow start of a service; groups of heartbeats and overload of a cluster (R-B2, R-B7, R-B10). */
import { z } from 'zod'
import { bodyRule, MAX_BODY_RULE, statusRanges } from '../health/probe/answer.ts'
import { DIRECT_HOSTS, GROUP_SIZE } from '../health/types.ts'
import { MAX_HOSTS, port, whole } from './fields.ts'

export const CHECK_TYPES = ['none', 'tcp', 'http', 'https', 'exec'] as const
export const SCHEMES = ['hash', 'percentages', 'tokens'] as const
export const STRATEGIES = ['round-robin', 'linear', 'most-tokens-first'] as const
export const HEARTBEAT_MODES = ['full', 'changes'] as const

const HOUR_MS = 3_600_000
const STATUS = 'must be a status such as 200, a range such as 200-399, or a list of those; 100 to 599'

const text = (pattern: RegExp, error: string) => z.string().regex(pattern, { error })

const status = z
  .union([z.int(), z.string(), z.array(z.union([z.int(), z.string()])).max(32)], { error: STATUS })
  .refine(rule => statusRanges(rule) !== null, { error: STATUS })

const body = z.string().check(context => {
  const refuse = (message: string): void =>
    void context.issues.push({ code: 'custom', message, input: context.value })
  if (context.value === '' || context.value.length > MAX_BODY_RULE)
    return refuse(`must have 1 to ${MAX_BODY_RULE} characters`)
  try {
    bodyRule(context.value)
  } catch (cause) {
    refuse(`must be a text, or a regular expression between slashes: ${(cause as Error).message}`)
  }
})

export const health = z
  .strictObject({
    type: z
      .enum(CHECK_TYPES)
      .default('none')
      .describe(
        'How a host probes its own endpoint: tcp connects, http and https send a GET request (a certificate is not verified), exec runs a command that must exit with 0; none does not probe.',
      ),
    port: port('For tcp, http and https: the port to probe; that of the service if left out.').optional(),
    path: text(/^\/[\x21-\x7e]{0,1999}$/, 'must be a path that begins with / and has no spaces')
      .describe('For http and https: path and query to ask for; / if left out.')
      .optional(),
    host: text(/^[A-Za-z0-9._:[\]-]{1,253}$/, 'must be a host name or an address, perhaps with :port')
      .describe('For http and https: the Host header, and the name told to TLS; the virtual IP if left out.')
      .optional(),
    status: status
      .describe(
        'For http and https: statuses that are healthy, such as 200, "200-399" or [200, "301-302"]; "200-399" if left out. A redirect is not followed.',
      )
      .optional(),
    body: body
      .describe(
        'For http and https: what the first 64 kB of the body must contain: a text, or a regular expression such as /ready|ok/i.',
      )
      .optional(),
    command: z
      .array(text(/^[^\0]{0,4096}$/, 'must have at most 4096 characters and no NUL'))
      .min(1)
      .max(64)
      .describe(
        "For exec: absolute path of a program and its arguments. It is run on the host as the agent's user and without a shell; it finds SHUNT_VIP, SHUNT_PORT and SHUNT_SERVICE in its environment.",
      )
      .optional(),
    interval: whole(100, HOUR_MS, 'Time from one probe to the next.').default(2_000),
    timeout: whole(10, 60_000, 'A probe that takes longer has failed.').default(1_000),
    rise: whole(1, 100, 'Good probes in a row that make a failing endpoint healthy.').default(2),
    fall: whole(1, 100, 'Bad probes in a row that make an endpoint failing.').default(2),
    jitter: z
      .number()
      .min(0)
      .max(0.5)
      .describe('Share of the interval by which each one is longer or shorter at random.')
      .default(0.1),
  })
  .describe("How hosts probe the health of the service's application.")

export const choice = z
  .strictObject({
    scheme: z
      .enum(SCHEMES)
      .default('hash')
      .describe(
        'How a classifier chooses among hosts: hash gives a flow the same host at each classifier, percentages keeps a running record of shares, tokens deals out tokens.',
      ),
    strategy: z
      .enum(STRATEGIES)
      .describe('For tokens: the order in which tokens are taken; round-robin if left out.')
      .optional(),
    tokens: whole(10, 1_000_000, 'For tokens: how many are dealt out at a time.').optional(),
    duration: whole(100, HOUR_MS, 'How long an allotment is valid.').default(5_000),
  })
  .describe('How classifiers choose a host for a new connection.')

export const slowStart = whole(
  0,
  HOUR_MS,
  'Time in which a host that has become healthy comes to its full share; 0 if left out.',
)

/** Fields of a service about its health and the choice among its hosts. */
export const serviceHealth = {
  health: health.optional(),
  choice: choice.optional(),
  slowStart: slowStart.optional(),
}

export const groups = z
  .strictObject({
    size: whole(2, MAX_HOSTS, 'Most hosts in a group; each group elects a leader.').default(GROUP_SIZE),
    heartbeats: z
      .enum(HEARTBEAT_MODES)
      .default('full')
      .describe(
        "What a leader tells in each beat: full tells every member's heartbeat, changes only what is new, which needs less traffic and notices later.",
      ),
    direct: whole(
      0,
      MAX_HOSTS,
      'A cluster of at most so many hosts has no leaders: each host sends its heartbeats itself.',
    ).default(DIRECT_HOSTS),
  })
  .describe('Groups in which hosts gather their heartbeats. Agents take a change up at their next start.')

export const overload = z
  .strictObject({
    drain: whole(1, 255, 'Load, in percent, from which an endpoint takes no new connections.').default(95),
    resume: whole(0, 254, 'Load, in percent, below which it takes them again; less than drain.').default(75),
    forMs: whole(0, HOUR_MS, 'How long the load must be that high.').default(30_000),
  })
  .describe(
    'When an endpoint with too much load takes no new connections for a while. Agents take a change up at their next start.',
  )

export type HealthCheckConfig = z.output<typeof health>
export type CheckType = (typeof CHECK_TYPES)[number]
export type ChoiceConfig = z.output<typeof choice>
export type GroupsConfig = z.output<typeof groups>
export type OverloadConfig = z.output<typeof overload>

/** A choice with everything that may be left out. */
export interface FullChoice {
  scheme: (typeof SCHEMES)[number]
  strategy: (typeof STRATEGIES)[number]
  /** Undefined: as many as the scheme deals out by itself. */
  tokens: number | undefined
  duration: number
}

/** The choice of a service, with the defaults of what it leaves out. */
export const choiceOf = (service: { choice?: ChoiceConfig | undefined }): FullChoice => {
  const { scheme, strategy, tokens, duration } = service.choice ?? choice.parse({})
  return { scheme, strategy: strategy ?? 'round-robin', tokens, duration }
}
