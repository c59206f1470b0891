/** `npm run relayer -- doctor` and `-- check-backup`: both look, change nothing, and print what they found. */

import { parseArgs } from 'node:util'
import { type Report, reportText } from '@dvt-relayer/common/findings.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { checkBackup } from '../doctor/backup.ts'
import { examine } from '../doctor/doctor.ts'
import { COMMANDS, usageError, usageOf } from './usage.ts'

/** Runs `doctor`. Returns an exit code: 1 where something is wrong. */
export async function doctorCommand(args: readonly string[], environment: Environment): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: COMMANDS.doctor.options })
  return print(await examine(environment), values.json)
}

/** Runs `check-backup`. Returns an exit code: 1 where something is wrong. */
export async function checkBackupCommand(args: readonly string[], environment: Environment): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: COMMANDS['check-backup'].options })
  const url = values['database-url']
  if (!/^postgres(ql)?:\/\//.test(url))
    throw usageError(
      '--database-url must be the URL of the database that the backup was restored into: postgres://user@host:5432/name',
      usageOf('check-backup'),
    )
  return print(await checkBackup(environment, url), values.json)
}

function print(report: Report, isJson: boolean): number {
  console.log(isJson ? JSON.stringify(report, undefined, 2) : reportText(report))
  return report.healthy ? 0 : 1
}
