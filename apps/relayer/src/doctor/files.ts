/** What `doctor` finds of the files that hold secrets: who else may read or change them. */

import { existsSync, statSync } from 'node:fs'
import { reasonOf } from '@dvt-relayer/common/errors.ts'
import { count, finding } from '@dvt-relayer/common/findings.ts'
import { type Environment, variableOf } from '@dvt-relayer/common/settings.ts'
import type { RelayerConfig } from '../config.ts'
import { keyFileOf } from '../services/sealing/sealing.ts'
import { RELAYER_SETTINGS } from '../settings.ts'
import type { Finding } from './findings.ts'

const OTHERS = { read: 0o004, write: 0o002 }
const GROUP_WRITE = 0o020
/** Settings that name a file with a secret, and are none that hold one. */
const KEY_FILES = [
  'VALIDATORS_MANAGER_KEY_FILE',
  'VALIDATORS_MANAGER_PASSWORD_FILE',
  'ROTATION_WALLET_KEY_FILE',
  'ROTATION_WALLET_PASSWORD_FILE',
]

/** The secret files: a key that everybody may read is everybody's, and who may write the tokens lets in whom he likes. */
export function examineFiles({ storage }: RelayerConfig, environment: Environment): Finding {
  const secretFiles = Object.entries(RELAYER_SETTINGS).flatMap(([name, { secret }]) => (secret ? [`${name}_FILE`] : []))
  const named = [...secretFiles, ...KEY_FILES, 'AUTH_TOKENS_FILE'].flatMap((setting) => {
    const file = variableOf(environment, setting)
    return file ? [{ setting, file }] : []
  })
  const made = keyFileOf(storage)
  const files = existsSync(made) ? [...named, { setting: 'DATA_DIR', file: made }] : named
  const looks = files.map(look)
  const problems = looks.flatMap(({ problem }) => problem ?? [])
  const warnings = looks.flatMap(({ warning }) => warning ?? [])
  const facts = { files: looks.map(({ setting, file, mode }) => ({ setting, file, mode })) }
  if (files.length === 0) return finding('files', 'unused', 'no file holds a secret', { facts })
  if (problems.length > 0) return finding('files', 'problem', problems.join('\n'), { details: warnings, facts })
  return finding(
    'files',
    warnings.length > 0 ? 'warning' : 'good',
    `${count(files.length, 'secret file')}, none of which everybody may read`,
    { details: warnings, facts },
  )
}

interface Look {
  setting: string
  file: string
  mode: string | null
  problem?: string
  warning?: string
}

function look({ setting, file }: { setting: string; file: string }): Look {
  let bits: number
  try {
    bits = statSync(file).mode & 0o777
  } catch (error) {
    return { setting, file, mode: null, problem: `${setting} ${file} cannot be read (${reasonOf(error)})` }
  }
  const mode = bits.toString(8).padStart(4, '0')
  const named = { setting, file, mode }
  const remedy = `is of mode ${mode}: chmod 600 ${file}`
  // The hashes of tokens may be read by all.
  const isHash = setting === 'AUTH_TOKENS_FILE'
  if ((bits & OTHERS.write) !== 0) return { ...named, problem: `everybody may change ${setting}, which ${remedy}` }
  if ((bits & OTHERS.read) !== 0 && !isHash)
    return { ...named, problem: `everybody on this machine may read ${setting}, which ${remedy}` }
  if ((bits & GROUP_WRITE) !== 0) return { ...named, warning: `its group may change ${setting}, which ${remedy}` }
  return named
}
