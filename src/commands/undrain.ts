import { BaseCommand } from '../cli/base-command.ts'
import { checkFlags, type DirectiveFlags, directiveArgs, directiveFlags } from '../cli/directive/flags.ts'

export default class Undrain extends BaseCommand {
  static override summary = 'Let a host take new connections again.'
  static override description =
    `Withdraws what shunt drain ordered for the same TARGET, and waits until the host and all load balancing units follow. Whether it gets
connections then is up to its health and load. Exit code 124 when that takes longer than --timeout, 3 when the agent of the host
cannot be asked; the order is withdrawn in both cases.

What holds the host back all the same is said, with its cause: an order about HOST while HOST/SERVICE is undrained, or about HOST/SERVICE
while HOST is; health; overload; stopping, for an agent that stops. With --json it is in "held": for each, the service, vip, state, cause, and
as "order" the TARGET whose order it is (null for other causes); vip is null where nothing listens or the host was not asked. With
--no-wait only orders are there, since the host is not asked.`
  static override examples = ['<%= config.bin %> undrain h1', '<%= config.bin %> undrain h1/web --no-wait']
  static override args = directiveArgs
  static override flags = directiveFlags

  override async run(): Promise<void> {
    const { args, flags, raw } = await this.parse(Undrain)
    checkFlags(raw)
    const { giveDirective } = await import('../cli/directive/give.ts')
    await giveDirective({
      command: 'undrain',
      target: args.target,
      state: 'active',
      flags: flags as DirectiveFlags,
    })
  }
}
