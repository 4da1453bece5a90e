/** Health checks, choice and slow start of a service; groups of heartbeats and overload of a cluster (R-B2, R-B7, R-B10). */
import { z } from 'zod'
import { FIRST_TOKENS, MAX_TOKENS, MIN_TOKENS } from '../health/allotment/tokens.ts'
import {
  bodyRule,
  DEFAULT_PATH,
  DEFAULT_STATUS,
  MAX_BODY_RULE,
  statusRanges,
} from '../health/probe/answer.ts'
import { DIRECT_HOSTS, GROUP_SIZE, type WhenFailing } from '../health/types.ts'
import { MAX_HOSTS, milliseconds, port, whole } from './fields.ts'

export const CHECK_TYPES = ['none', 'tcp', 'http', 'https', 'exec'] as const
export const SCHEMES = ['hash', 'percentages', 'tokens'] as const
export const STRATEGIES = ['round-robin', 'linear', 'most-tokens-first'] as const
export const WHEN_FAILING = ['draining', 'inactive'] as const
export const HEARTBEAT_MODES = ['full', 'changes'] as const

/** Of what a service leaves out and what is not put in its place when the file is read: rules ask whether it was said. */
export const DEFAULT_STRATEGY = 'round-robin'
export const DEFAULT_SLOW_START_MS = 0
export const DEFAULT_WHEN_FAILING = 'draining'

const HOUR_MS = 3_600_000
const STATUS = 'must be a status such as 200, a range such as 200-399, or a list of those; 100 to 599'

const text = (pattern: RegExp, error: string) => z.string().regex(pattern, { error })

/** What may be left out; `value`, which then counts, is documented and not put in its place. */
const leftOut = <T extends z.ZodType>(field: T, value: z.output<T>) =>
  field.meta({ default: value }).optional()

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
    port: port('For tcp, http and https: the port to probe. If left out, that of the service.').optional(),
    path: leftOut(
      text(/^\/[\x21-\x7e]{0,1999}$/, 'must be a path that begins with / and has no spaces').describe(
        'For http and https: path and query to ask for, 1 to 2000 characters.',
      ),
      DEFAULT_PATH,
    ),
    host: text(/^[A-Za-z0-9._:[\]-]{1,253}$/, 'must be a host name or an address, perhaps with :port')
      .describe(
        'For http and https: the Host header, and the name told to TLS, 1 to 253 characters. If left out, the virtual IP.',
      )
      .optional(),
    status: leftOut(
      status.describe(
        'For http and https: statuses that are healthy, of 100 to 599, such as 200, "200-399" or [200, "301-302"]. A redirect is not followed.',
      ),
      DEFAULT_STATUS,
    ),
    body: body
      .describe(
        `For http and https: what the first 64 kB of the body must contain: a text, or a regular expression such as /ready|ok/i; 1 to ${MAX_BODY_RULE} characters. If left out, any body will do.`,
      )
      .optional(),
    command: z
      .array(text(/^[^\0]{0,4096}$/, 'must have at most 4096 characters and no NUL'))
      .min(1)
      .max(64)
      .describe(
        "For exec: absolute path of a program and its arguments. It is run on the host as the agent's user and without a shell; it finds SHUNT_VIP, SHUNT_PORT and SHUNT_SERVICE in its environment. 1 to 64 texts. If left out, there is none; exec needs it.",
      )
      .optional(),
    interval: milliseconds(100, HOUR_MS, 'Time from one probe to the next').default(2_000),
    timeout: milliseconds(10, 60_000, 'Longest time that a good probe takes').default(1_000),
    rise: whole(1, 100, 'Number of good probes in a row that make a failing endpoint healthy.').default(2),
    fall: whole(1, 100, 'Number of bad probes in a row that make an endpoint failing.').default(2),
    jitter: z
      .number()
      .min(0)
      .max(0.5)
      .describe('Share of the interval, 0.1 for a tenth, by which each one is longer or shorter at random.')
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
    strategy: leftOut(
      z.enum(STRATEGIES).describe('For tokens: the order in which tokens are taken.'),
      DEFAULT_STRATEGY,
    ),
    tokens: whole(
      MIN_TOKENS,
      MAX_TOKENS,
      `For tokens: number of tokens that are dealt out at a time, one a connection. If left out, ${FIRST_TOKENS} at first; then twice as many when they last less than a quarter of duration, and half as many when they last more than half of it.`,
    ).optional(),
    duration: milliseconds(100, HOUR_MS, 'How long an allotment is valid').default(5_000),
  })
  .describe('How classifiers choose a host for a new connection.')

export const slowStart = leftOut(
  milliseconds(
    0,
    HOUR_MS,
    'Time in which a host that has become healthy and active comes from a tenth of its share to all of it, also while all hosts of the service are overloaded (0: at once). It begins anew each time that the host gets new connections again, as after a failure, a drain or an overload, or when its application or agent comes back; and for all hosts on a load balancing unit whose agent starts',
  ),
  DEFAULT_SLOW_START_MS,
)

export const whenFailing = leftOut(
  z
    .enum(WHEN_FAILING)
    .describe(
      'What becomes of a host whose application fails: draining gives it no new connections, and those that it has go on; inactive lets no packet through to it, so that they stand still until it is healthy again.',
    ),
  DEFAULT_WHEN_FAILING,
)

/** Fields of a service about its health and the choice among its hosts. */
export const serviceHealth = {
  health: health.optional(),
  choice: choice.optional(),
  slowStart,
  whenFailing,
}

export const groups = z
  .strictObject({
    size: whole(2, MAX_HOSTS, 'Largest number of hosts in a group; each group elects a leader.').default(
      GROUP_SIZE,
    ),
    heartbeats: z
      .enum(HEARTBEAT_MODES)
      .default('full')
      .describe(
        "What a leader tells in each beat: full tells every member's heartbeat, changes only what is new, which needs less traffic and notices later.",
      ),
    direct: whole(
      0,
      MAX_HOSTS,
      'Largest number of hosts of a cluster without leaders: each host sends its heartbeats itself.',
    ).default(DIRECT_HOSTS),
  })
  .describe('Groups in which hosts gather their heartbeats.')

export const overload = z
  .strictObject({
    drain: whole(1, 255, 'Load, in percent, from which an endpoint takes no new connections.').default(95),
    resume: whole(
      0,
      254,
      'Load, in percent, below which it takes them again; less than drain (0: never by itself).',
    ).default(75),
    forMs: milliseconds(0, HOUR_MS, 'How long the load must be that high').default(30_000),
  })
  .describe(
    'When an endpoint with too much load takes no new connections for a while. Load is what is used of the CPU time that the host may use, or how full the accept queue of its application is, whichever is more; or what the application reports of itself. 100 is all of it. It is smoothed over 10 seconds.',
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
  return { scheme, strategy: strategy ?? DEFAULT_STRATEGY, tokens, duration }
}

/** Milliseconds of slow start; 0: none. */
export const slowStartOf = (service: { slowStart?: number | undefined }): number =>
  service.slowStart ?? DEFAULT_SLOW_START_MS

/** What a failing application of the service derives to (R-B6). */
export const whenFailingOf = (service: { whenFailing?: WhenFailing | undefined }): WhenFailing =>
  service.whenFailing ?? DEFAULT_WHEN_FAILING
