import { Args } from '@oclif/core'
import { BaseCommand } from '../../cli/base-command.ts'
import { count } from '../../cli/format.ts'
import { json, localEnvelope, print } from '../../cli/output.ts'

export default class ConfigCheck extends BaseCommand {
  static override summary = 'Check a node file and report every error with its line.'
  static override description =
    `Each error is a line "FILE:LINE:COLUMN PATH: MESSAGE". With --json, a file that is right is shown
with all its defaults.`
  static override examples = ['<%= config.bin %> config check /etc/shunt/node.yaml']
  static override args = {
    file: Args.string({ description: 'The node file, YAML or JSON.', required: true }),
  }

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(ConfigCheck)
    const { loadNodeConfig } = await import('../../config/load.ts')
    const config = loadNodeConfig(args.file)
    const { name } = config.node
    if (flags.json) {
      print(json(localEnvelope('shunt.config-check/1', { file: args.file, config }, name), true))
      return
    }
    const parts = [
      `node ${name}`,
      config.roles.join(' and '),
      count(config.peers.length, 'peer'),
      count(config.services.length, 'service'),
    ]
    print(`${args.file}: ok (${parts.join(', ')})`)
  }
}
