/** What all commands share: --json, and errors that go to one place (cli.ts). */
import { Command, Flags } from '@oclif/core'

export abstract class BaseCommand extends Command {
  static override baseFlags = {
    json: Flags.boolean({
      description: 'Print an envelope of JSON on standard output.',
      helpGroup: 'GLOBAL',
    }),
  }

  /** The library would print here; cli.ts does, once and for every kind of error. */
  protected override async catch(error: Error): Promise<never> {
    throw error
  }
}
