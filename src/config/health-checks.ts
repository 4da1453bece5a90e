/** Rules about health checks, choice and overload that span several values. Pure. */

import type { CheckType, ChoiceConfig, HealthCheckConfig, OverloadConfig } from './health-fields.ts'
import type { Path, Problem } from './problems.ts'

interface Service {
  readonly protocol: 'tcp' | 'udp'
  readonly health?: HealthCheckConfig | undefined
  readonly choice?: ChoiceConfig | undefined
}

const CONNECTING: readonly CheckType[] = ['tcp', 'http', 'https']
const HTTP: readonly CheckType[] = ['http', 'https']
/** Keys that mean something for some types only. */
const ONLY_FOR: readonly [keyof HealthCheckConfig, readonly CheckType[]][] = [
  ['port', CONNECTING],
  ['path', HTTP],
  ['host', HTTP],
  ['status', HTTP],
  ['body', HTTP],
  ['command', ['exec']],
]

const listed = (words: readonly string[]): string =>
  words.length === 1
    ? `the type ${words[0]}`
    : `the types ${words.slice(0, -1).join(', ')} and ${words.at(-1)}`

const checkHealth = ({ health, protocol }: Service, path: Path, problems: Problem[]): void => {
  if (health === undefined) return
  const { type, command, port } = health
  const at = [...path, 'health']
  for (const [key, types] of ONLY_FOR)
    if (health[key] !== undefined && !types.includes(type))
      problems.push({
        path: [...at, key],
        message: `is only for ${listed(types)}; this check has the type ${type}`,
      })
  if (type === 'exec' && command === undefined)
    problems.push({ path: at, message: 'the type exec needs command, such as [/usr/local/bin/check, web]' })
  if (command !== undefined && !command[0]!.startsWith('/'))
    problems.push({
      path: [...at, 'command', 0],
      message: 'must be the absolute path of a program (there is no shell; for one, begin with /bin/sh, -c)',
    })
  if (protocol === 'udp' && CONNECTING.includes(type) && port === undefined)
    problems.push({
      path: at,
      message: `the service is of UDP, which ${type} cannot connect to; give port, a TCP port of the application, or the type exec`,
    })
}

/** What is wrong with the health check and the choice of the service at `path`. */
export const serviceHealthProblems = (service: Service, path: Path): Problem[] => {
  const problems: Problem[] = []
  checkHealth(service, path, problems)
  for (const key of ['strategy', 'tokens'] as const)
    if (service.choice?.[key] !== undefined && service.choice.scheme !== 'tokens')
      problems.push({
        path: [...path, 'choice', key],
        message: `is only for the scheme tokens; this choice has the scheme ${service.choice.scheme}`,
      })
  return problems
}

/** An endpoint that resumed at the load at which it drains would do both in turn. */
export const overloadProblems = (overload: OverloadConfig | undefined): Problem[] =>
  overload === undefined || overload.resume < overload.drain
    ? []
    : [
        {
          path: ['overload', 'resume'],
          message: `is ${overload.resume} and must be less than overload.drain (${overload.drain})`,
        },
      ]
