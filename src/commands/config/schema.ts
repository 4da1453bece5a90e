import { BaseCommand } from '../../cli/base-command.ts'
import { json, print } from '../../cli/output.ts'

export default class ConfigSchema extends BaseCommand {
  static override summary = 'Print the JSON Schema of the node file.'
  static override description =
    `For editors and checkers. The schema is a document of its own, so it has no envelope.`
  static override examples = ['<%= config.bin %> config schema > node.schema.json']

  override async run(): Promise<void> {
    await this.parse(ConfigSchema)
    const { nodeJsonSchema } = await import('../../config/json-schema.ts')
    print(json(nodeJsonSchema(), true))
  }
}
