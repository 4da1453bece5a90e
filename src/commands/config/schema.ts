import { Args } from '@oclif/core'
import { BaseCommand } from '../../cli/base-command.ts'
import { json, print } from '../../cli/output.ts'
import type { ConfigKind } from '../../config/kind.ts'

export default class ConfigSchema extends BaseCommand {
  static override summary = 'Print the JSON Schema of the node file or of the cluster document.'
  static override description =
    `For editors and checkers. The schema is a document of its own, so it has no envelope.`
  static override examples = [
    '<%= config.bin %> config schema > node.schema.json',
    '<%= config.bin %> config schema cluster > cluster.schema.json',
  ]
  static override args = {
    kind: Args.string({
      description: 'Which of the two: node or cluster.',
      options: ['node', 'cluster'] satisfies ConfigKind[],
      default: 'node',
    }),
  }

  override async run(): Promise<void> {
    const { args } = await this.parse(ConfigSchema)
    const { clusterJsonSchema, nodeJsonSchema } = await import('../../config/json-schema.ts')
    print(json(args.kind === 'cluster' ? clusterJsonSchema() : nodeJsonSchema(), true))
  }
}
