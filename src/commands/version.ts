import { BaseCommand } from '../cli/base-command.ts'
import { json, localEnvelope, print } from '../cli/output.ts'
import { BUILD } from '../version.ts'

export default class Version extends BaseCommand {
  static override summary = 'Show what this program is.'
  static override examples = ['<%= config.bin %> version --json']

  override async run(): Promise<void> {
    const { flags } = await this.parse(Version)
    const data = { ...BUILD, node: process.version, platform: process.platform, arch: process.arch }
    print(
      flags.json
        ? json(localEnvelope('shunt.version/1', data), true)
        : `shunt ${data.version} (build ${data.build}, Node ${data.node}, ${data.platform} ${data.arch})`,
    )
  }
}
