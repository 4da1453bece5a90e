/** The form of an action, the command line that it makes, and what came of it. */
import type { ActionOverlay } from '../actions.ts'
import { ACTIONS } from '../actions.ts'
import { cut, type Line, span } from '../lines.ts'
import type { State } from '../model.ts'
import { clean } from '../text.ts'

const formLines = (form: ActionOverlay & { kind: 'form' }): Line[] => {
  const action = ACTIONS.find(candidate => candidate.id === form.action)!
  return [
    [span(`  ${action.title(form.row)}`, 'head')],
    [],
    ...form.toggles.map((toggle, i): Line => {
      const change = toggle.on === toggle.was ? '' : toggle.on ? '  (added)' : '  (taken away)'
      const remark = toggle.remark === undefined ? '' : ` (${toggle.remark})`
      const text = `${i === form.at ? '> ' : '  '}[${toggle.on ? 'x' : ' '}] ${toggle.id}${remark}${change}`
      return [span('  '), span(text, i === form.at ? 'chosen' : undefined)]
    }),
    [],
    [span('  Space changes it, Enter goes on, Esc leaves everything as it is', 'dim')],
  ]
}

const commandLine = (args: readonly string[]): Line => [span(`    $ shunt ${args.join(' ')}`)]

const resultLines = ({ result, args }: ActionOverlay & { kind: 'result' }): Line[] => [
  commandLine(args),
  [],
  ...result.lines.map((line): Line => [span(`    ${clean(line)}`)]),
  [],
  [
    result.code === 0
      ? span('  done', 'good')
      : span(
          `  ${result.code === null ? 'it was ended by a signal' : `failed with exit code ${result.code}`}`,
          'bad',
        ),
    span('; any key goes on', 'dim'),
  ],
]

const lines = (overlay: ActionOverlay): Line[] => {
  switch (overlay.kind) {
    case 'form':
      return formLines(overlay)
    case 'confirm':
      return [
        [span(`  ${overlay.title}`, 'head')],
        [],
        commandLine(overlay.args),
        [],
        [span('  Run it? y/N', 'odd')],
      ]
    case 'running':
      return [commandLine(overlay.args), [], [span('  running', 'odd')]]
    case 'result':
      return resultLines(overlay)
  }
}

/** Of a long output the end is shown: the result stands there. */
export const actionLines = (state: State, overlay: ActionOverlay, height: number): Line[] =>
  [[], ...lines(overlay)].slice(-height).map(line => cut(line, state.columns))
