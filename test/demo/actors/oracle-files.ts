/** The oracles as files, for whoever wants to check shares with `dvt-verify`. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { oracleConfig } from '../../support/chain/oracles.ts'
import { type Chain, ORACLE_THRESHOLD } from '../story/scene.ts'

/** Writes the oracle config, byte for byte as it lies on IPFS, and the oracles' keys: `1.key`, `2.key`, … */
export function writeOracleFiles(
  dir: string,
  { oracles }: Pick<Chain, 'oracles'>,
): { config: string; firstKey: string } {
  mkdirSync(dir, { recursive: true })
  const config = join(dir, 'config.json')
  writeFileSync(config, JSON.stringify(oracleConfig(oracles, ORACLE_THRESHOLD)))
  const keyFile = (position: number) => join(dir, `${position}.key`)
  for (const [position, { secretKey }] of oracles.entries())
    writeFileSync(keyFile(position + 1), toHex(secretKey), { mode: 0o600 })
  return { config, firstKey: keyFile(1) }
}
