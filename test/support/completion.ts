/** A small set of commands, for tests of the completion scripts. */
import { completionModel } from '../../src/completion/model.ts'

export const MODEL = completionModel(
  [
    {
      id: 'apply',
      summary: "Make it the one in force: the operator's [best] friend.",
      flags: {
        file: { name: 'file', char: 'f', type: 'option', helpValue: 'FILE', description: 'The document.' },
        wait: { name: 'wait', type: 'option', helpValue: 'MS', description: 'Wait; 0 does not.' },
        yes: { name: 'yes', char: 'y', type: 'boolean', description: "Don't ask." },
      },
      args: {},
    },
    {
      id: 'config:check',
      summary: 'Check a file.',
      flags: { kind: { name: 'kind', type: 'option', options: ['node', 'cluster'], description: 'Kind.' } },
      args: { file: { name: 'file', description: 'The file.' } },
    },
    {
      id: 'config:show',
      summary: 'Print it.',
      flags: { json: { name: 'json', type: 'boolean', description: 'JSON.' } },
      args: { revision: { name: 'revision', description: 'Which.' } },
    },
    {
      id: 'roles',
      summary: 'Change roles.',
      flags: { wait: { name: 'wait', type: 'option', helpValue: 'MS' } },
      args: { node: { name: 'node' }, change: { name: 'change' } },
    },
  ],
  { config: 'The files.' },
)
