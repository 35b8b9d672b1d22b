//! Samples as a WAV file, for whoever hears elsewhere: one channel at [`SAMPLE_RATE`], 16 bits a sample (RIFF WAVE, format 1).

use super::SAMPLE_RATE;

const BYTES_A_SAMPLE: u32 = 2;
/// Of everything before the samples.
const HEAD_BYTES: u32 = 44;

/// The file. Samples beyond full scale are cut off there.
pub fn wav(samples: &[f32]) -> Vec<u8> {
    let rate = SAMPLE_RATE as u32;
    // 4 hours, the most that is ever transcribed, are 461 MB
    let bytes =
        u32::try_from(samples.len()).unwrap_or(u32::MAX / BYTES_A_SAMPLE).saturating_mul(BYTES_A_SAMPLE);
    let mut file = Vec::with_capacity(samples.len() * BYTES_A_SAMPLE as usize + HEAD_BYTES as usize);
    file.extend(*b"RIFF");
    file.extend(bytes.saturating_add(HEAD_BYTES - 8).to_le_bytes());
    file.extend(*b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * BYTES_A_SAMPLE).to_le_bytes());
    file.extend((BYTES_A_SAMPLE as u16).to_le_bytes());
    file.extend((BYTES_A_SAMPLE as u16 * 8).to_le_bytes());
    file.extend(*b"data");
    file.extend(bytes.to_le_bytes());
    // a cast of a number past the end stops at the end
    file.extend(samples.iter().flat_map(|sample| ((sample * 32_768.0).round() as i16).to_le_bytes()));
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_it_holds() {
        let file = wav(&[0.0, 0.5, -1.0, 2.0]);
        assert_eq!(file.len(), 44 + 8);
        assert_eq!((&file[..4], &file[8..16], &file[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
        let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        assert_eq!((number(4), number(24), number(28), number(40)), (44, 16_000, 32_000, 8));
        let samples: Vec<i16> =
            file[44..].chunks(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
        assert_eq!(samples, [0, 16_384, -32_768, 32_767]);
    }
}
