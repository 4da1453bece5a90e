/** What this host knows of one endpoint that listens: the inputs from which its row is made. */
import { LoadReport } from '../smoothing.ts'
import type { AppId, Health, WhenFailing } from '../types.ts'
import type { Endpoint, HostSettings } from './events.ts'
import { Overload } from './overload.ts'

export class Application {
  readonly app: AppId
  capacity: number
  whenFailing: WhenFailing
  health: Health = 'unknown'
  readonly load: LoadReport
  readonly overload: Overload

  constructor({ app, capacity, whenFailing }: Endpoint, settings: Pick<HostSettings, 'load' | 'overload'>) {
    this.app = app
    this.capacity = capacity
    this.whenFailing = whenFailing
    this.load = new LoadReport(settings.load)
    this.overload = new Overload(settings.overload)
  }

  /** What else is said of it now; false: nothing new. */
  take({ capacity, whenFailing }: Omit<Endpoint, 'app'>): boolean {
    const isNew = capacity !== this.capacity || whenFailing !== this.whenFailing
    this.capacity = capacity
    this.whenFailing = whenFailing
    return isNew
  }
}
