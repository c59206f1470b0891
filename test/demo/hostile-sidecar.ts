/**
 * A process that speaks in the name of one node and lies: for every exit that is not ready it posts, again and again, another
 * well-formed signature by another key. It prints each, so that the demo knows what must not stand in any log.
 */

import { randomBytes } from 'node:crypto'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { pause } from '@dvt-relayer/common/lifetime.ts'
import { bls12_381 } from '@noble/curves/bls12-381.js'
import { signRoot } from './oracles.ts'

const POLL_MS = 200
const relayerUrl = process.env['RELAYER_ENDPOINT']
const shareIndex = Number(process.env['SHARE_INDEX'])
const stopping = new AbortController()
process.once('SIGTERM', () => stopping.abort())
const { signal } = stopping

interface Exits {
  exits: { public_key: string; is_exit_signature_ready: boolean }[]
}

async function lie(): Promise<void> {
  const response = await fetch(`${relayerUrl}/exits`, { signal })
  const { exits } = (await response.json()) as Exits
  const shares = exits
    .filter(({ is_exit_signature_ready: isReady }) => !isReady)
    .map(({ public_key }) => ({
      public_key,
      exit_signature: toHex(signRoot(randomBytes(32), bls12_381.utils.randomSecretKey())),
    }))
  if (shares.length === 0) return
  for (const { exit_signature } of shares) console.log(exit_signature)
  const body = JSON.stringify({ share_index: shareIndex, shares })
  await fetch(`${relayerUrl}/exit-signature`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
    signal,
  })
}

while (!signal.aborted) {
  // A relayer that is down is lied to when it is back.
  await lie().catch(() => {})
  await pause(POLL_MS, signal)
}
