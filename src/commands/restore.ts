import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { count } from '../cli/format.ts'
import { refuseWhileAgentRuns } from '../cli/offline.ts'
import { json, localEnvelope, note, print } from '../cli/output.ts'
import { errorText, ShuntError } from '../errors.ts'

export default class Restore extends BaseCommand {
  static override summary = 'Put the files of a backup back.'
  static override description =
    `Everything in the backup is checked first; then all files are written, or none. Refused while an agent runs on
them, and for files that exist, unless --force replaces them (exit code 5). What the cluster agreed on since is caught up with when the agent
starts; if the cluster secret was rotated since, run shunt join TOKEN after it.`
  static override examples = [
    '<%= config.bin %> restore /root/f1.backup',
    '<%= config.bin %> restore /root/f1.backup --force',
  ]
  static override args = { file: Args.string({ description: 'The backup.', required: true }) }
  static override flags = {
    config: Flags.string({
      char: 'c',
      description: 'Where to put the node file; default: where it was.',
      helpValue: 'FILE',
    }),
    force: Flags.boolean({ description: 'Replace files that exist.' }),
  }

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(Restore)
    const [{ parseBackup }, { checkBackup }, { putFiles }] = await Promise.all([
      import('../cluster/backup.ts'),
      import('../cluster/restore.ts'),
      import('../cluster/put-files.ts'),
    ])
    let text: string
    try {
      text = readFileSync(args.file, 'utf8')
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT')
        throw new ShuntError('SHUNT_ERR_STATE', `there is no file ${args.file}`, { cause })
      throw new ShuntError('SHUNT_ERR_STATE', `cannot read ${args.file}: ${errorText(cause)}`, { cause })
    }
    const backup = parseBackup(text, args.file)
    const { files, controlSocket } = checkBackup(
      backup,
      args.file,
      flags.config === undefined ? undefined : resolve(flags.config),
    )
    await refuseWhileAgentRuns(controlSocket)
    const there = files.filter(f => existsSync(f.path)).map(f => f.path)
    if (there.length > 0 && !flags.force)
      throw new ShuntError(
        'SHUNT_ERR_GUARD',
        `${there.join(', ')} ${there.length === 1 ? 'exists' : 'exist'}: give --force to replace what is there by the backup`,
      )
    putFiles(files)
    const paths = files.map(f => f.path)
    if (flags.json)
      print(
        json(
          localEnvelope(
            'shunt.restore/1',
            { node: backup.node, madeAt: backup.madeAt, files: paths },
            backup.node,
          ),
          true,
        ),
      )
    else print(`${backup.node} as of ${backup.madeAt}: ${count(paths.length, 'file')} restored`)
    for (const path of paths) note(`wrote ${path}`)
  }
}
