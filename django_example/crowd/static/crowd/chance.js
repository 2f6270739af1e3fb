// The line that says why the number of users differs from the percentage of the rollout.

export function chanceText({ chance, allowed }) {
  if (!chance) return "";
  const { percent, users, enabled, low, high } = chance;
  const expected = Math.round((users * percent) / 100);
  const others =
    allowed.length === 0
      ? ""
      : allowed.length === 1
        ? " 1 allowed user has the flag, too."
        : ` ${allowed.length} allowed users have the flag, too.`;
  return `${percent} % of ${users} users is ${expected}. In 95 % of cases, chance makes it ${low} to ${high}. Here it is ${enabled}.${others}`;
}
