import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { checkFlags, type DirectiveFlags, directiveArgs, directiveFlags } from '../cli/directive/flags.ts'

export default class Drain extends BaseCommand {
  static override summary = 'Send no new connections to a host; those that it has go on.'
  static override description =
    `TARGET is a host, for all that it serves, or HOST/SERVICE. Waits until no load balancing unit sends anything new there, as
far as the host itself can prove it, and says how many connections TARGET still has, in the whole cluster: when none are left its
application can be stopped. The same command once more counts them again. Exit code 124 when the waiting takes longer than --timeout, 3
when the agent of the host cannot be asked; the order stands in both cases. Draining the last
host that gets new connections of a service asks first. shunt undrain ends it.

Units that are waited for are named, with why: "no answer yet" is nothing to worry about; "silent" has not answered for a second, or cannot
be reached, and counts no more once its lease has run out; "differs" has other rows than the host; "not in force" has them and does not
follow them yet.

Connections are counted by the kernel of the host: those to the VIP that its application has not closed. Where it does not tell (UDP,
applications in containers, a host that cannot be asked) the forwarders count theirs, but for those that are closing. With --json the number is in
"connections": null when nobody knows all of it. What is stricter than the order, such as an order about HOST while HOST/SERVICE is drained, is said,
and with --json in "held", with the fields that it has in shunt undrain.`
  static override examples = [
    '<%= config.bin %> drain h1',
    '<%= config.bin %> drain h1/web --timeout 30s',
    '<%= config.bin %> drain h1 --inactive --no-wait --yes',
  ]
  static override args = directiveArgs
  static override flags = {
    ...directiveFlags,
    inactive: Flags.boolean({
      description: 'Send no packets at all, not even of connections that it has; they stand still.',
    }),
  }

  override async run(): Promise<void> {
    const { args, flags, raw } = await this.parse(Drain)
    checkFlags(raw)
    const { giveDirective } = await import('../cli/directive/give.ts')
    await giveDirective({
      command: 'drain',
      target: args.target,
      state: flags.inactive ? 'inactive' : 'draining',
      flags: flags as DirectiveFlags,
    })
  }
}
