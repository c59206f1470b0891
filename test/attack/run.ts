/** Runs an attack: honest callers by themselves first, then beside it, as often as wanted. */

import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { cpuMs, residentBytes } from '../bench/measure.ts'
import { startChild } from '../support/child.ts'
import type { Attack, Left } from './attack.ts'
import type { FromAttacker, ToAttacker } from './attacker.ts'
import type { Asked } from './honest.ts'
import type { AttackStage } from './stage.ts'

export interface Outcome {
  attack: Attack
  /** Milliseconds by who asked. */
  quiet: Record<string, number[]>
  beside: Record<string, number[]>
  errors: string[]
  peakBytes: number
  /** What the attacker was answered, and how often. */
  answers: Record<string, number>
  left: Left | undefined
}

/** How an attack is run: how often, how many honest requests of each kind there are, and one every how many milliseconds. */
export interface Pace {
  rounds: number
  /** Beside the attack before anything is measured: what a relayer does for the first time it does slower, quiet or not. */
  warmTimes: number
  quietTimes: number
  times: number
  everyMs: number
}

/** Runs one attack. */
export async function runAttack(stage: AttackStage, attack: Attack, pace: Pace): Promise<Outcome> {
  const outcome: Outcome = { attack, quiet: {}, beside: {}, errors: [], peakBytes: 0, answers: {}, left: undefined }
  await attack.prepare?.(stage)
  const logged = stage.output().length
  let seconds = 0
  if (pace.warmTimes > 0) {
    const warm = { ...outcome, quiet: {}, beside: {}, answers: {} }
    seconds += await runRound(stage, warm, { ...pace, quietTimes: 0, times: pace.warmTimes })
    outcome.peakBytes = warm.peakBytes
  }
  for (let round = 0; round < pace.rounds; round++) {
    await untilSettled(stage, pace)
    seconds += await runRound(stage, outcome, pace)
  }
  await untilSettled(stage, pace)
  outcome.left = await attack.left?.(stage, stage.output().slice(logged), seconds)
  return outcome
}

/** One round; returns how many seconds the attack was under way. */
async function runRound(stage: AttackStage, outcome: Outcome, pace: Pace): Promise<number> {
  const { attack } = outcome
  await using attacker = startChild<ToAttacker, FromAttacker>('test/attack/attacker.ts')
  const set = await attacker.ask({ set: attack.id })
  await using victim = (await attack.victim?.(stage, 'url' in set ? set.url : '')) ?? {
    ...stage.relayer,
    [Symbol.asyncDispose]: async () => {},
  }
  const { url, callers } = victim
  const { honest, network } = stage
  const { everyMs } = pace
  if (pace.quietTimes > 0)
    add(outcome, 'quiet', await honest.ask({ url, network, callers, everyMs, times: pace.quietTimes }))
  forgetPeak(victim.pid)
  const began = performance.now()
  await attacker.ask({ begin: stage.scene })
  add(outcome, 'beside', await honest.ask({ url, network, callers, everyMs, times: pace.times }))
  const seconds = (performance.now() - began) / 1000
  outcome.peakBytes = Math.max(outcome.peakBytes, residentBytes(victim.pid).most)
  const told = await attacker.ask({ tell: true })
  if ('answers' in told)
    for (const [answer, count] of Object.entries(told.answers))
      outcome.answers[answer] = (outcome.answers[answer] ?? 0) + count
  return seconds
}

function add(outcome: Outcome, to: 'quiet' | 'beside', { samples, errors }: Asked): void {
  for (const [who, times] of Object.entries(samples)) outcome[to][who] = [...(outcome[to][who] ?? []), ...times]
  outcome.errors.push(...errors.map((error) => `${to === 'quiet' ? 'before, ' : ''}${error}`))
}

/** Has the kernel count the peak of a process anew; where it cannot, the peak is that of its whole life. */
function forgetPeak(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5')
  } catch {
    // No Linux.
  }
}

/**
 * Resolves when the relayer holds nothing of anybody and, where quiet is measured, rests, so that what an attack left to do is no part of
 * that; at the latest after a minute, when what is left is part of what is quiet.
 */
async function untilSettled({ relayer, heldBytes }: AttackStage, { quietTimes }: Pace): Promise<void> {
  const [lookMs, restMs, patienceMs] = [250, 25, 60_000]
  const deadline = performance.now() + patienceMs
  for (let before = cpuMs(relayer.pid); ; ) {
    await sleep(lookMs)
    const now = cpuMs(relayer.pid)
    // Where there is no `/proc` only what is held tells.
    const isAtWork = quietTimes > 0 && now - before > restMs
    if (!isAtWork && (await heldBytes()) === 0) return
    if (performance.now() > deadline) return
    before = cpuMs(relayer.pid)
  }
}
