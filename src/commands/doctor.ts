import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { EXIT } from '../cli/exit-codes.ts'
import { count } from '../cli/format.ts'
import { json, localEnvelope, note, paint, print, warn } from '../cli/output.ts'
import { configFlag } from '../cli/setup-flags.ts'
import type { Diagnosis } from '../doctor/examine.ts'
import type { CheckStatus } from '../doctor/facts.ts'
import type { Applied } from '../doctor/remedy.ts'
import { oneLine, plain } from '../plain-text.ts'

const SCHEMA = 'shunt.doctor/1'
const STYLE = { pass: 'good', warn: 'odd', fail: 'bad', skip: 'dim' } as const

const render = (diagnoses: readonly Diagnosis[], counts: Record<CheckStatus, number>): string => {
  const width = Math.max(...diagnoses.map(({ check }) => check.length))
  const lines = diagnoses.flatMap(({ check, status, text, fix }) => [
    `${paint(STYLE[status], status)}  ${check.padEnd(width)}  ${plain(text).replaceAll('\n', `\n${' '.repeat(width + 8)}`)}`,
    ...(fix === undefined ? [] : [`${' '.repeat(width + 8)}fix: ${oneLine(fix)}`]),
  ])
  const { pass, warn: warnings, fail, skip } = counts
  return `${lines.join('\n')}\n\n${pass} passed, ${count(warnings, 'warning')}, ${fail} failed, ${skip} skipped\n`
}

export default class Doctor extends BaseCommand {
  static override summary = 'Check this machine, its node file, and what its agent sees of the cluster.'
  static override description =
    `Needs no running agent; without one, what only it knows is skipped. --fix changes nothing but kernel
settings (until the next boot) and the mode of private files, and says what it did. The exit code is 3 when a check fails.`
  static override examples = [
    '<%= config.bin %> doctor',
    '<%= config.bin %> doctor --fix',
    '<%= config.bin %> doctor --json',
  ]
  static override flags = {
    config: configFlag,
    socket: Flags.string({
      description: "The agent's control socket; by default the one that the node file names.",
      env: 'SHUNT_SOCKET',
      helpValue: 'PATH',
    }),
    fix: Flags.boolean({ description: 'Apply the safe ones of the fixes, then check again.' }),
  }

  override async run(): Promise<void> {
    const { flags } = await this.parse(Doctor)
    const { collectFacts } = await import('../doctor/collect.ts')
    const { countByStatus, examine } = await import('../doctor/examine.ts')
    const look = () => collectFacts({ configFile: flags.config, controlSocket: flags.socket })
    let facts = await look()
    let diagnoses = examine(facts)
    let applied: Applied[] = []
    if (flags.fix) {
      const { applyRemedies } = await import('../doctor/remedy.ts')
      applied = applyRemedies(diagnoses)
      if (applied.length > 0) {
        facts = await look()
        diagnoses = examine(facts)
      }
    }
    const counts = countByStatus(diagnoses)
    if (flags.json) {
      const checks = diagnoses.map(({ check, status, text, fix = null }) => ({ check, status, text, fix }))
      const node = 'value' in facts.config ? facts.config.value.node.name : undefined
      print(json(localEnvelope(SCHEMA, { checks, counts, applied }, node), true))
    } else print(render(diagnoses, counts))
    for (const { text, error } of applied) {
      if (error === null) note(`fixed: ${text}`)
      else warn(`could not fix ${text}: ${error}`)
    }
    if (flags.fix && applied.length === 0) note('there is nothing that --fix may change')
    if (counts.fail > 0) process.exitCode = EXIT.DEGRADED
  }
}
