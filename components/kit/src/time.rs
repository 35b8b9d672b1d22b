//! Times as people and file names have them, in UTC. Knows the proleptic Gregorian calendar and no time zones.

/// A moment, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    year: u64,
    month: u64,
    day: u64,
    second_of_day: u64,
}

impl Moment {
    /// From seconds since 1970. Days become dates as in Howard Hinnant's "chrono-compatible low-level date algorithms":
    /// years that begin in March have their leap day at the end.
    pub fn from_unix(seconds: u64) -> Self {
        let days = seconds / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        Self { year, month, day, second_of_day: seconds % 86_400 }
    }

    /// As RFC 3339 has it: `2026-11-22T20:15:30Z`.
    pub fn written(self) -> String {
        let Self { year, month, day, .. } = self;
        let [hour, minute, second] = self.clock();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// As a file's name begins: `20261122-201530`.
    pub fn compact(self) -> String {
        let Self { year, month, day, .. } = self;
        let [hour, minute, second] = self.clock();
        format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
    }

    fn clock(self) -> [u64; 3] {
        [self.second_of_day / 3_600, self.second_of_day / 60 % 60, self.second_of_day % 60]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_the_calendar_has_them() {
        for (seconds, written) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_795_378_530, "2026-11-22T20:15:30Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Moment::from_unix(seconds).written(), written);
        }
        assert_eq!(Moment::from_unix(1_795_378_530).compact(), "20261122-201530");
    }
}
