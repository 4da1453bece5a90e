import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../../cli/base-command.ts'
import { count } from '../../cli/format.ts'
import { json, localEnvelope, print } from '../../cli/output.ts'
import type { ConfigKind } from '../../config/kind.ts'
import type { NodeFile } from '../../config/schema.ts'
import { ShuntError } from '../../errors.ts'

/** More than a file of either kind may have. */
const MAX_BYTES = 4 * 1024 * 1024

const describeNode = ({ node, roles, peers, services }: NodeFile): string => {
  const parts =
    roles === undefined
      ? ['of a managed cluster']
      : [roles.join(' and '), count(peers?.length ?? 0, 'peer'), count(services?.length ?? 0, 'service')]
  return [`node ${node.name}`, ...parts].join(', ')
}

export default class ConfigCheck extends BaseCommand {
  static override summary = 'Check a node file or a cluster document and report every error with its line.'
  static override description =
    `Each error is a line "FILE:LINE:COLUMN PATH: MESSAGE". With --json, a file that is right is shown
with all its defaults. Which kind a file is shows by its keys: a node file has node, a cluster document has pools.`
  static override examples = [
    '<%= config.bin %> config check /etc/shunt/node.yaml',
    '<%= config.bin %> config check cluster.yaml',
  ]
  static override args = {
    file: Args.string({ description: 'The file, YAML or JSON.', required: true }),
  }
  static override flags = {
    kind: Flags.string({
      description: 'Take it for this kind.',
      options: ['node', 'cluster'] satisfies ConfigKind[],
    }),
  }

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(ConfigCheck)
    const [{ readText }, { isEmptyText, kindOfText }] = await Promise.all([
      import('../../config/yaml-file.ts'),
      import('../../config/kind.ts'),
    ])
    const text = readText(args.file, 'a configuration file', MAX_BYTES)
    if (flags.kind === undefined && isEmptyText(text))
      throw new ShuntError(
        'SHUNT_ERR_CONFIG',
        `${args.file}:1:1 the file is empty; shunt-cluster.yaml(5) and shunt-node.yaml(5) have examples`,
      )
    const kind = (flags.kind as ConfigKind | undefined) ?? kindOfText(text)
    const [config, node, sentence] =
      kind === 'node' ? await this.#node(text, args.file) : await this.#cluster(text, args.file)
    print(
      flags.json
        ? json(localEnvelope('shunt.config-check/1', { file: args.file, kind, config }, node), true)
        : `${args.file}: ok (${sentence})`,
    )
  }

  async #node(text: string, file: string): Promise<[object, string, string]> {
    const { parseNodeFile } = await import('../../config/load.ts')
    const config = parseNodeFile(text, file)
    return [config, config.node.name, describeNode(config)]
  }

  async #cluster(text: string, file: string): Promise<[object, string, string]> {
    const { parseDocument } = await import('../../config/document.ts')
    const config = parseDocument(text, file)
    const parts = [count(config.services.length, 'service'), count(config.pools.length, 'pool')]
    return [config, '-', `cluster document, ${parts.join(', ')}`]
  }
}
