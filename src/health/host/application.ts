/** What this host knows of one endpoint that listens: the inputs from which its row is made. */
import { LoadReport } from '../smoothing.ts'
import type { AppId, Health } from '../types.ts'
import type { HostSettings } from './events.ts'
import { Overload } from './overload.ts'

export class Application {
  readonly app: AppId
  capacity: number
  health: Health = 'unknown'
  readonly load: LoadReport
  readonly overload: Overload

  constructor(app: AppId, capacity: number, settings: Pick<HostSettings, 'load' | 'overload'>) {
    this.app = app
    this.capacity = capacity
    this.load = new LoadReport(settings.load)
    this.overload = new Overload(settings.overload)
  }
}
