//! How far our values are from the reference's, against what is allowed.

use candle_core::Tensor;

/// The largest difference of a stage over all cases, against what is allowed.
pub(crate) struct Worst {
    stage: &'static str,
    tolerance: f64,
    worst: f64,
    place: String,
}

impl Worst {
    pub(crate) fn new(stage: &'static str, tolerance: f64) -> Worst {
        Worst { stage, tolerance, worst: 0.0, place: "nowhere".into() }
    }

    #[track_caller]
    pub(crate) fn compare(&mut self, place: impl Into<String>, ours: &Tensor, theirs: &Tensor) {
        let place = place.into();
        assert_eq!(ours.dims(), theirs.dims(), "{} at {place}", self.stage);
        self.take(place, largest(&(ours - theirs).unwrap()));
    }

    /// Relative to the largest value where that is over 1: noise levels without a signal reach 4096.
    #[track_caller]
    pub(crate) fn compare_scaled(&mut self, place: impl Into<String>, ours: &Tensor, theirs: &Tensor) {
        let scale = largest(theirs).max(1.0);
        self.compare(place, &(ours / scale).unwrap(), &(theirs / scale).unwrap());
    }

    #[allow(dead_code, reason = "not every family has tables of its own")]
    #[track_caller]
    pub(crate) fn compare_tables(&mut self, place: impl Into<String>, ours: &[f64], theirs: &[f64]) {
        let place = place.into();
        assert_eq!(ours.len(), theirs.len(), "{} at {place}", self.stage);
        // relative where the values are large: timesteps reach 999, sigmas without a signal 4096
        let difference = |(ours, theirs): (&f64, &f64)| (ours - theirs).abs() / theirs.abs().max(1.0);
        let worst = ours.iter().zip(theirs).map(difference).fold(0.0, f64::max);
        self.take(place, worst);
    }

    pub(crate) fn take(&mut self, place: String, difference: f64) {
        if difference.is_nan() || difference > self.tolerance {
            println!("{} {place}: {difference:.2e}", self.stage);
        }
        // a NaN is the worst of all
        if difference.is_nan() || difference > self.worst {
            (self.worst, self.place) = (difference, place);
        }
    }
}

fn largest(x: &Tensor) -> f64 {
    f64::from(x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap())
}

impl Drop for Worst {
    fn drop(&mut self) {
        let Worst { stage, tolerance, worst, place } = self;
        println!("{stage}: largest difference {worst:.2e} at {place}, allowed {tolerance:.0e}");
        if !std::thread::panicking() {
            assert!(*worst <= *tolerance, "{stage}: {worst:.2e} at {place}, allowed {tolerance:.0e}");
        }
    }
}
