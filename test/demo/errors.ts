/** Why a demo ends early. */

/** The demo failed; `logFile` is where the process at fault tells more. */
export class DemoError extends Error {
  readonly logFile: string | undefined

  constructor(message: string, logFile?: string) {
    super(message)
    this.name = 'DemoError'
    this.logFile = logFile
  }
}
